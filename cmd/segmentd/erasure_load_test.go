package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/segmentd/segmentd/cmd/segmentd/internal/load"
	"github.com/segmentd/segmentd/processor/kafka"
	"github.com/segmentd/segmentd/processor/stream"
	spelling "github.com/segmentd/segmentd/state/canary"
	"github.com/segmentd/segmentd/state/subject"
)

var (
	erasureLoad = flag.Int("erasures", 0, "subjects whom TestErasureLoad erases, spread over a minute, under half load; 0: skip it")
	erasureSpan = flag.Duration("erasures-within", time.Minute, "over which time TestErasureLoad spreads them")
)

// TestErasureLoad measures erasures under half load of many subjects, with
// generator, broker and reader on the same cores: from the acknowledgement of each
// request until a read_committed reader has seen that the subject is erased, and
// until it is told that nothing is left in the files; and what scrubs cost those who
// stay. It needs -erasures.
func TestErasureLoad(t *testing.T) {
	if *erasureLoad == 0 {
		t.Skip("a benchmark of minutes: give -erasures 2000")
	}
	r := newRig(t)
	log := new(syncBuffer)
	r.environ, r.log, r.logLevel = []string{"SEGMENTD_PRIVACY_ERASE_WITHIN=1m"}, log, "debug"
	r.preload()
	events, seconds, _ := r.backlog()
	rate := *loadRate
	if rate == 0 {
		rate = r.sustained(min(float64(events)/seconds, 200_000)) / 2
	}
	t.Logf("subjects %d, segments %d, partitions %d, %.0f events/s, data directory %.0f MiB", *loadSubjects, *loadSegments, *loadPartitions, rate,
		float64(sizeOf(filepath.Join(r.dir, "data"), ""))/(1<<20))
	e := &erasures{rig: r, asked: map[string]time.Time{}, seen: map[string]time.Duration{}, done: map[string]time.Duration{}}
	e.pick()
	r.awaitQuiet()
	e.scan("before", len(e.ids))
	before := e.phase("before", rate, func() bool { return true })
	e.ask = true
	during := e.phase("erasing", rate, func() bool { return len(e.done) == len(e.ids) })
	r.awaitQuiet()
	e.scan("after", 0)
	t.Logf("changes         p50 %s, p99 %s, %.0f events/s before; p50 %s, p99 %s, %.0f events/s while erasing and scrubbing", before.at(0.5), before.at(0.99), before.rate,
		during.at(0.5), during.at(0.99), during.rate)
	t.Logf("erased          seen by a read_committed reader: p50 %s, p99 %s, max %s after the request was acknowledged", e.quantiles(e.seen)...)
	t.Logf("gone            told as completed: p50 %s, p99 %s, max %s after the request was acknowledged", e.quantiles(e.done)...)
	e.scrubs(log.String())
}

// erasures are those of a load, and what was seen of them.
type erasures struct {
	*rig
	ids []string
	ask bool // in the phase that comes

	mu    sync.Mutex
	asked map[string]time.Time     // guarded by mu: when each was acknowledged, by subject
	seen  map[string]time.Duration // guarded by mu: until the change was read, by subject
	done  map[string]time.Duration // guarded by mu: until the result was read, by request
}

// pick chooses subjects evenly.
func (e *erasures) pick() {
	rng := rand.New(rand.NewPCG(7, 7))
	picked := map[string]bool{}
	for len(picked) < *erasureLoad {
		picked[load.Subject(rng.Uint64N(uint64(*loadSubjects)))] = true
	}
	for id := range picked {
		e.ids = append(e.ids, id)
	}
}

// scan looks for the ids in the files of the processor, in all spellings.
func (e *erasures) scan(when string, want int) {
	var cs []spelling.Canary
	for _, id := range e.ids {
		cs = append(cs, spelling.Text(id, id))
	}
	if len(cs) > 50 { // all would take minutes
		cs = cs[:50]
		want = min(want, 50)
	}
	finds, err := spelling.ScanProcess(strconv.Itoa(e.run.Process.Pid), cs, filepath.Join(e.dir, "data"))
	e.must(err)
	if got := len(spelling.Names(finds)); got != want {
		for _, f := range finds[:min(10, len(finds))] {
			e.t.Log(f)
		}
		e.t.Errorf("%s: %d of %d subjects looked for are in the files, want %d", when, got, len(cs), want)
	}
}

// measured is what was seen of changes in a phase.
type measured struct {
	all  []time.Duration
	rate float64 // of events
}

func (m *measured) at(q float64) time.Duration { return quantile(m.all, q) }

// phase drives the load for a span at least, and until over says so.
func (e *erasures) phase(name string, rate float64, over func() bool) *measured {
	ctx, stop := context.WithCancel(e.t.Context())
	defer stop()
	m := &measured{}
	var group sync.WaitGroup
	group.Go(func() {
		e.follow(ctx, "segmentd-changes", func(value []byte, now time.Time) { e.change(m, value, now) })
	})
	group.Go(func() { e.follow(ctx, "segmentd-request-results", e.result) })
	if e.ask {
		group.Go(func() { e.request(ctx) })
	}
	from, began := e.processed(), time.Now()
	driving, halt := context.WithCancel(ctx)
	group.Go(func() { e.drive(driving, rate, 15*time.Minute, func(time.Duration) {}) })
	<-time.After(*erasureSpan)
	for end := time.Now().Add(10 * time.Minute); time.Now().Before(end); {
		e.mu.Lock()
		done := over()
		e.mu.Unlock()
		if done {
			break
		}
		<-time.After(100 * time.Millisecond)
	}
	m.rate = (e.processed() - from) / time.Since(began).Seconds()
	halt()
	<-time.After(2 * time.Second)
	stop()
	group.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	slices.Sort(m.all)
	if len(m.all) == 0 || !over() {
		e.t.Fatalf("%s: %d changes were read, %d of %d erasures are completed", name, len(m.all), len(e.done), len(e.ids))
	}
	return m
}

// request asks for all erasures, spread evenly.
func (e *erasures) request(ctx context.Context) {
	producer := e.client.NewProducer(kafka.ProducerConfig{})
	began := time.Now()
	for i, id := range e.ids {
		due := began.Add(*erasureSpan * time.Duration(i) / time.Duration(len(e.ids)))
		select {
		case <-time.After(time.Until(due)):
		case <-ctx.Done():
			return
		}
		now := time.Now()
		p, _ := kafka.Murmur2.Partition([]byte(id), e.partitions)
		value := fmt.Sprintf(`{"type":"request","requestId":"q-%d","userId":%q,"request":"erase","timestamp":%q}`, i, id, now.UTC().Format("2006-01-02T15:04:05.000Z"))
		if _, err := producer.Send(ctx, []stream.Message{{Topic: "requests", Partition: p, Key: []byte(id), Timestamp: subject.FromTime(now), Value: []byte(value)}}); err != nil {
			return
		}
		e.mu.Lock()
		e.asked[id] = time.Now()
		e.mu.Unlock()
	}
}

func (e *erasures) change(m *measured, value []byte, now time.Time) {
	var c struct{ UserID, Change string }
	if json.Unmarshal(value, &c) != nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if d, ok := latencyOf(value, now); ok {
		m.all = append(m.all, d)
	}
	if c.Change == subject.Erased.String() {
		e.seen[c.UserID] = e.since(c.UserID, now)
	}
}

func (e *erasures) result(value []byte, now time.Time) {
	var r struct{ RequestID, Status string }
	if json.Unmarshal(value, &r) != nil || r.Status != subject.Completed.String() {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if i, err := strconv.Atoi(strings.TrimPrefix(r.RequestID, "q-")); err == nil {
		e.done[r.RequestID] = e.since(e.ids[i], now)
	}
}

// since is the time since a request was acknowledged; 0 where that was after.
func (e *erasures) since(id string, now time.Time) time.Duration {
	at, ok := e.asked[id]
	if !ok {
		return 0
	}
	return max(0, now.Sub(at))
}

func (e *erasures) quantiles(of map[string]time.Duration) []any {
	if len(of) != len(e.ids) {
		e.t.Errorf("%d of %d were seen", len(of), len(e.ids))
	}
	var all []time.Duration
	for _, d := range of {
		all = append(all, d)
	}
	slices.Sort(all)
	return []any{quantile(all, 0.5), quantile(all, 0.99), quantile(all, 1)}
}

var scrubLine = regexp.MustCompile(`(subjects|keys|drops|bytes|seconds|longest)"?[=:]"?([0-9.a-zµ]+)`)

// scrubs sums up what the log tells of them.
func (e *erasures) scrubs(log string) {
	sums, longest, n := map[string]float64{}, time.Duration(0), 0
	for line := range strings.Lines(log) {
		if !strings.Contains(line, "image scrubbed") {
			continue
		}
		n++
		for _, m := range scrubLine.FindAllStringSubmatch(line, -1) {
			if m[1] == "longest" {
				d, _ := time.ParseDuration(m[2])
				longest = max(longest, d)
				continue
			}
			v, _ := strconv.ParseFloat(m[2], 64)
			sums[m[1]] += v
		}
	}
	if n == 0 {
		e.t.Error("no scrub was logged")
	}
	e.t.Logf("scrubs          %d of %.0f subjects, %.0f keys in %.0f drops, %.1f s in all, longest drop %s, %.0f MiB of tables written anew (compactions meanwhile counted)",
		n, sums["subjects"], sums["keys"], sums["drops"], sums["seconds"], longest, sums["bytes"]/(1<<20))
}
