package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"
)

// What the broker keeps of a soak's events and changes, a partition. The
// benchmark's backlog must fit in it.
const (
	soakRetentionBytes = 384 << 20
	soakSegmentBytes   = 32 << 20
)

// soakMinFree is the room on the disk below which a soak ends as failed.
const soakMinFree = 10 << 30

// soakRetention is how a topic is made for a soak: as always where there is none.
func soakRetention(topic string) map[string]string {
	if *loadSoak == 0 || topic != "events" {
		return nil
	}
	return map[string]string{"retention.bytes": strconv.Itoa(soakRetentionBytes), "segment.bytes": strconv.Itoa(soakSegmentBytes)}
}

// sample is how a process stands at one moment of a soak, and what it did since
// the sample before.
type sample struct {
	at                time.Duration // since the soak began
	rss, anonymous    float64       // bytes
	heap              float64       // bytes in use right after a collection
	goroutines, files float64
	disk              float64       // bytes of the data directory
	topics            float64       // bytes of events and changelog at the broker
	lag, maxLag       float64       // records
	p50, p99          time.Duration // of the changes read since the last sample
	late              time.Duration // the generator's, at most
	changes           int           // since the last sample
}

// soak holds a rate, open loop, samples the processor every minute (of a short
// soak sixty times, five seconds apart at least), and judges whether it stays as it is.
func (r *rig) soak(rate float64, length time.Duration) {
	r.boundChanges()
	ctx, stop := context.WithCancel(r.t.Context())
	group, ctx := errgroup.WithContext(ctx)
	s := &soak{rig: r, every: min(time.Minute, max(5*time.Second, length/60)), began: time.Now()}
	group.Go(func() error { r.readLatencies(ctx, s.observe); return nil })
	group.Go(func() error { return s.watch(ctx) })
	r.t.Logf("soak            %.0f events/s for %s", rate, length)
	r.drive(ctx, rate, length, s.observeLate)
	stop()
	if err := group.Wait(); err != nil {
		r.t.Fatal(err)
	}
	r.t.Log("soak\n" + soakTable(s.samples))
	for _, line := range soakVerdict(s.samples) {
		if line.grows {
			r.t.Error(line)
		} else {
			r.t.Log(line)
		}
	}
}

// boundChanges keeps the published changes from filling the disk.
func (r *rig) boundChanges() {
	admin, err := kadm.NewOptClient(kgo.SeedBrokers(strings.Split(r.brokers, ",")...))
	r.must(err)
	defer admin.Close()
	bytes, segment := strconv.Itoa(soakRetentionBytes), strconv.Itoa(soakSegmentBytes)
	res, err := admin.AlterTopicConfigs(r.t.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.bytes", Value: &bytes},
		{Op: kadm.SetConfig, Name: "segment.bytes", Value: &segment}}, "segmentd-changes")
	r.must(err)
	for _, one := range res {
		r.must(one.Err)
	}
}

// soak is one under way.
type soak struct {
	rig   *rig
	every time.Duration
	began time.Time

	mu        sync.Mutex
	latencies []time.Duration // guarded by mu: since the last sample
	late      time.Duration   // guarded by mu: since the last sample

	samples []sample // the watcher's until it ends
}

func (s *soak) observe(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.latencies = append(s.latencies, d)
}

func (s *soak) observeLate(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.late = max(s.late, d)
}

// watch asks for the lag every second, and samples, until ctx ends. The error
// tells why the soak cannot go on.
func (s *soak) watch(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	maxLag, next := 0.0, s.began.Add(s.every)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		lag := s.rig.metric("segmentd_input_lag_records")
		maxLag = max(maxLag, lag)
		if time.Now().Before(next) {
			continue
		}
		free, err := freeBytes(s.rig.dir)
		if err != nil {
			return err
		}
		if free < soakMinFree {
			return fmt.Errorf("the disk of %s has %d MiB left, and must keep %d", s.rig.dir, free>>20, soakMinFree>>20)
		}
		one := s.sample()
		one.lag, one.maxLag = lag, maxLag
		s.samples = append(s.samples, one)
		s.rig.t.Log(one)
		maxLag, next = 0, next.Add(s.every)
	}
}

func (s *soak) sample() sample {
	r := s.rig
	one := sample{at: time.Since(s.began), rss: r.metric("process_resident_memory_bytes"), anonymous: anonymousBytes(r.run.Process.Pid),
		goroutines: r.metric("go_goroutines"), files: r.metric("process_open_fds"), disk: float64(sizeOf(filepath.Join(r.dir, "data"), "")),
		topics: float64(r.topicBytes("events") + r.topicBytes("segmentd-changelog")), heap: r.liveHeap()}
	s.mu.Lock()
	all := s.latencies
	s.latencies, one.late, s.late = nil, s.late, 0
	s.mu.Unlock()
	slices.Sort(all)
	if one.changes = len(all); one.changes > 0 {
		one.p50, one.p99 = quantile(all, 0.5), quantile(all, 0.99)
	}
	return one
}

var heapAlloc = regexp.MustCompile(`(?m)^# HeapAlloc = (\d+)$`)

// liveHeap is what the processor's heap holds right after a collection, which it
// makes; 0 where it does not answer.
func (r *rig) liveHeap() float64 {
	page, err := get("http://" + r.http + "/debug/pprof/heap?gc=1&debug=1")
	if err != nil {
		return 0
	}
	m := heapAlloc.FindStringSubmatch(page)
	if m == nil {
		return 0
	}
	n, _ := strconv.ParseFloat(m[1], 64)
	return n
}

// anonymousBytes is the part of a process's resident memory that is no file's; 0
// where the system does not tell.
func anonymousBytes(pid int) float64 {
	status, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	for line := range strings.Lines(string(status)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "RssAnon:" {
			kib, _ := strconv.ParseFloat(f[1], 64)
			return kib * 1024
		}
	}
	return 0
}

func freeBytes(dir string) (uint64, error) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return 0, fmt.Errorf("free room of %s: %w", dir, err)
	}
	return fs.Bavail * uint64(fs.Bsize), nil
}

// soakMeasure is one of the things that a soak may show to grow.
type soakMeasure struct {
	name  string
	of    func(sample) float64 // in the unit of the table
	slack float64              // by which the last third may be above the middle one beside a tenth
	tooth bool                 // it rises and falls: the last third's median is held against the middle third's highest
}

const mib = 1 << 20

var soakMeasures = []soakMeasure{
	{name: "rss MiB", of: func(s sample) float64 { return s.rss / mib }},
	{name: "anonymous MiB", of: func(s sample) float64 { return s.anonymous / mib }},
	{name: "live heap MiB", of: func(s sample) float64 { return s.heap / mib }},
	{name: "goroutines", of: func(s sample) float64 { return s.goroutines }, slack: 5},
	{name: "open files", of: func(s sample) float64 { return s.files }, slack: 5},
	{name: "disk MiB", of: func(s sample) float64 { return s.disk / mib }, tooth: true},
	{name: "lag", of: func(s sample) float64 { return s.lag }, slack: 1000},
	{name: "p99 ms", of: func(s sample) float64 { return float64(s.p99) / float64(time.Millisecond) }, slack: 10},
}

// verdictLine says how one measure stood.
type verdictLine struct {
	measure      soakMeasure
	middle, last float64 // the medians; of a saw-tooth the middle third's highest
	grows        bool
}

func (v verdictLine) String() string {
	word := "flat"
	if v.grows {
		word = "GROWS"
	}
	return fmt.Sprintf("verdict         %s: %s (middle third %.0f, last third %.0f)", v.measure.name, word, v.middle, v.last)
}

// soakVerdict compares the last third of the samples with the middle one: a
// measure is flat if its median there is at most a tenth, and its slack, above.
// The first third is for warming up.
func soakVerdict(samples []sample) (lines []verdictLine) {
	third := len(samples) / 3
	if third == 0 {
		return nil
	}
	for _, m := range soakMeasures {
		middle, last := m.sorted(samples[len(samples)-2*third:len(samples)-third]), m.sorted(samples[len(samples)-third:])
		line := verdictLine{measure: m, middle: middle[third/2], last: last[third/2]}
		if m.tooth {
			line.middle = middle[third-1]
		}
		line.grows = line.last > line.middle*1.1+m.slack
		lines = append(lines, line)
	}
	return lines
}

func (m soakMeasure) sorted(samples []sample) (values []float64) {
	for _, s := range samples {
		values = append(values, m.of(s))
	}
	slices.Sort(values)
	return values
}

func (s sample) String() string {
	return fmt.Sprintf("%s: rss %.0f MiB (%.0f anonymous), live heap %.0f MiB, %.0f goroutines, %.0f files, disk %.0f MiB, topics %.0f MiB, lag %.0f (max %.0f), "+
		"p50 %s, p99 %s of %d changes, generator at most %s late", s.at.Round(time.Second), s.rss/mib, s.anonymous/mib, s.heap/mib, s.goroutines, s.files, s.disk/mib,
		s.topics/mib, s.lag, s.maxLag, s.p50, s.p99, s.changes, s.late.Round(time.Millisecond))
}

func soakTable(samples []sample) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "minute\t")
	for _, m := range soakMeasures {
		fmt.Fprint(w, m.name, "\t")
	}
	fmt.Fprintln(w, "max lag\tp50 ms\ttopics MiB\tlate ms\t")
	for _, s := range samples {
		fmt.Fprintf(w, "%.1f\t", s.at.Minutes())
		for _, m := range soakMeasures {
			fmt.Fprintf(w, "%.0f\t", m.of(s))
		}
		fmt.Fprintf(w, "%.0f\t%.0f\t%.0f\t%d\t\n", s.maxLag, float64(s.p50)/float64(time.Millisecond), s.topics/mib, s.late.Milliseconds())
	}
	_ = w.Flush() // to memory
	return b.String()
}

// What grows by less than a tenth, or rises and falls, is flat; a leak is not.
func TestSoakVerdict(t *testing.T) {
	samples := make([]sample, 60)
	for i := range samples {
		samples[i] = sample{rss: float64(1000+i%7) * mib, heap: float64(300+5*i) * mib, goroutines: float64(100 + i%3), files: float64(20 + i),
			disk: float64(500+40*(i%10)) * mib, p99: 30 * time.Millisecond}
	}
	grows := map[string]bool{}
	for _, line := range soakVerdict(samples) {
		grows[line.measure.name] = line.grows
	}
	for name, want := range map[string]bool{"rss MiB": false, "live heap MiB": true, "goroutines": false, "open files": true, "disk MiB": false, "p99 ms": false, "lag": false} {
		if grows[name] != want {
			t.Errorf("%s: grows is %v, want %v", name, grows[name], want)
		}
	}
}
