package main

import (
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmentd/segmentd/cmd/segmentd/internal/load"
	"github.com/segmentd/segmentd/processor/kafka"
	"github.com/segmentd/segmentd/processor/kafka/kafkatest"
	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/state/subject"
)

var (
	loadRun        = flag.Bool("load", false, "run TestLoad, the load benchmark of the whole process")
	loadSubjects   = flag.Int("load-subjects", 100_000, "subjects of TestLoad")
	loadSegments   = flag.Int("load-segments", 100, "segments of TestLoad")
	loadEvents     = flag.Int("load-events", 1_000_000, "events of TestLoad's backlog")
	loadSkew       = flag.Float64("load-skew", 1.1, "exponent of Zipf's law of TestLoad's keys; 0: even keys")
	loadPartitions = flag.Int("load-partitions", 4, "partitions of TestLoad's topics")
	loadRate       = flag.Float64("load-rate", 0, "events/s at which TestLoad measures latency; 0: half and 80 % of what is sustained")
	loadProfile    = flag.String("load-profile", "", "file for a CPU profile of the processor while TestLoad's backlog is worked off")
	loadSoak       = flag.Duration("load-soak", 0, "how long TestLoad holds half of what is sustained and samples what may grow; 0: not at all")
	loadHold       = flag.Duration("load-hold", 20*time.Second, "how long TestLoad must hold a rate for it to count as sustained; at most 10m")
	loadExtra      = flag.String("load-config", "", "lines of YAML that TestLoad adds to the configuration")
	loadLive       = flag.Duration("load-live", 20*time.Second, "how long TestLoad measures latency at a rate; at most 10m")
)

// TestLoad measures the whole process, with generator and broker (the embedded
// one as a process of its own, or a real Kafka) on the same cores: a backlog
// worked off, the highest rate that is sustained while generator and consumer work
// too, latency at half and at 80 % of it, open loop, the first event after a kill,
// and a restore to an empty disk. It needs -load. With -load-soak half of the
// sustained rate is held for long in place of the latencies.
func TestLoad(t *testing.T) {
	if !*loadRun {
		t.Skip("a benchmark of minutes: give -load")
	}
	r := newRig(t)
	r.preload()
	events, seconds, cpu := r.backlog()
	rate := float64(events) / seconds
	t.Logf("subjects %d, segments %d, zipf %.2f, partitions %d", *loadSubjects, *loadSegments, *loadSkew, *loadPartitions)
	t.Logf("throughput      %.0f events/s (%d events in %.1f s)", rate, events, seconds)
	t.Logf("cpu             %.1f CPU-seconds per million events", cpu/float64(events)*1e6)
	t.Logf("memory          %.0f MiB resident", r.metric("process_resident_memory_bytes")/(1<<20))
	t.Logf("disk            %.0f MiB", float64(sizeOf(filepath.Join(r.dir, "data"), ""))/(1<<20))
	t.Logf("changelog       %.0f bytes an event, compressed", float64(r.changelogBytes)/float64(events))
	t.Logf("transactions    %.0f", r.metric(`segmentd_transactions_total{outcome="committed"}`))
	rates := []float64{*loadRate}
	if *loadRate == 0 {
		rate = r.sustained(min(rate, 200_000))
		rates = []float64{rate * 0.5, rate * 0.8}
	}
	if *loadSoak > 0 {
		r.soak(rates[0], *loadSoak)
		r.awaitQuiet()
		r.restarts()
		return
	}
	for _, rate := range rates {
		r.latency(rate, min(*loadLive, 10*time.Minute))
		r.awaitQuiet()
	}
	r.restarts()
}

// sustained finds the highest rate, of steps down from one, at which after
// -load-hold no more than a second's events wait, and the generator keeps pace.
func (r *rig) sustained(rate float64) float64 {
	hold := min(*loadHold, 10*time.Minute)
	for ; rate > 100; rate *= 0.85 {
		ctx, stop := context.WithCancel(context.Background())
		var group sync.WaitGroup
		group.Go(func() { r.readLatencies(ctx, func(time.Duration) {}) })
		var late time.Duration
		r.drive(ctx, rate, hold, func(d time.Duration) { late = d })
		lag := r.metric("segmentd_input_lag_records")
		stop()
		group.Wait()
		holds := lag <= rate && late < time.Second
		r.t.Logf("held for %s    %.0f events/s: %.0f waiting, generator %s behind at the end: %t", hold, rate, lag, late.Round(time.Millisecond), holds)
		r.awaitQuiet()
		if holds {
			return rate
		}
	}
	r.t.Fatal("no rate could be held")
	return 0
}

// restarts measures what a kill costs: with the image there, and without.
func (r *rig) restarts() {
	r.must(r.run.Process.Kill())
	_ = r.run.Wait() // it was killed
	r.send("events", r.events(100))
	began := time.Now()
	r.startProcessor()
	r.await(func() bool { return r.processed() > 0 })
	r.t.Logf("restart         %.1f s from a kill to the first event", time.Since(began).Seconds())
	r.restore("as it was written")
	if r.real {
		return // it compacts in its own time
	}
	r.must(r.broker.Process.Signal(syscall.SIGTERM))
	r.must(r.broker.Wait())
	r.startBroker() // it compacts when it starts
	r.restore("compacted")
}

// restore measures a start from an empty disk, and from a changelog of which is said what it is like.
func (r *rig) restore(changelog string) {
	r.must(r.run.Process.Kill())
	_ = r.run.Wait() // it was killed
	r.must(os.RemoveAll(filepath.Join(r.dir, "data", "image")))
	r.createTopics() // it waits for the broker
	began := time.Now()
	r.startProcessor()
	r.await(func() bool { return ready(r.http) })
	seconds := time.Since(began).Seconds()
	r.t.Logf("restore         %.1f s from an empty disk and the changelog %s, %.0f subjects/s", seconds, changelog, float64(*loadSubjects)/seconds)
}

func (r *rig) startBroker() {
	r.broker = r.start("broker", "--data", filepath.Join(r.dir, "broker"), "--listen", r.brokers)
}

func (r *rig) startProcessor() {
	r.run = r.start("run", "--config", filepath.Join(r.dir, "segmentd.yaml"), "--log-level", cmp.Or(r.logLevel, "warn"))
}

// ready asks an instance whether it is.
func ready(address string) bool {
	res, err := http.Get("http://" + address + "/readyz")
	if err != nil {
		return false
	}
	defer res.Body.Close()
	return res.StatusCode == http.StatusOK
}

// rigSecret keys the hashes of a rig; nothing in it is secret.
const rigSecret = "load-benchmark-secret-not-secret"

// rig is a broker, a processor and a client on temporary directories.
type rig struct {
	t              *testing.T
	dir, bin       string
	client         *kafka.Client
	producer       *kafka.Producer
	source         *load.Source
	http           string
	brokers        string   // host:port,…
	reach          string   // host:port,… where the processor begins
	real           bool     // they are a real Kafka's
	partitions     int32    // of all topics
	others         []string // the HTTP addresses of further instances
	config         string
	environ        []string // of the processor, beside the configuration
	run            *exec.Cmd
	broker         *exec.Cmd // the embedded one
	log            io.Writer // of what is started; nil: the test's stderr
	logLevel       string    // of the processor; "": warn
	changelogBytes int64
}

func newRig(t *testing.T) *rig { return newRigWith(t, load.Rules(*loadSegments)) }

// newRigWith returns a rig with a rule file, on the real broker or on one that is
// a process of its own.
func newRigWith(t *testing.T, ruleFile string) *rig {
	return prepareRig(t, buildBinary(t, t.TempDir())).on(ruleFile)
}

// on gives a rig rules and a broker.
func (r *rig) on(ruleFile string) *rig {
	brokers := kafkatest.Real(r.t)
	if r.real = len(brokers) > 0; !r.real {
		brokers = []string{freeAddress(r.t)}
		r.brokers = brokers[0]
		r.startBroker()
	}
	r.configure(ruleFile, brokers, brokers)
	return r
}

// prepareRig is a rig of a binary that has nothing yet.
func prepareRig(t *testing.T, bin string) *rig {
	return &rig{t: t, dir: t.TempDir(), bin: bin, http: freeAddress(t), partitions: int32(*loadPartitions), source: load.NewSource(1, *loadSubjects, *loadSkew)}
}

// configure writes rules and configuration, connects and makes the topics. The
// processor begins with the brokers of reach.
func (r *rig) configure(ruleFile string, brokers, reach []string) {
	r.brokers, r.reach = strings.Join(brokers, ","), strings.Join(reach, ",")
	rules := filepath.Join(r.dir, "rules")
	r.must(os.Mkdir(rules, 0o700))
	r.must(os.WriteFile(filepath.Join(rules, "load.yaml"), []byte(ruleFile), 0o600))
	r.config = fmt.Sprintf("kafka: {brokers: [%s]}\ninputs: [{topic: events, kind: event}, {topic: decisions, kind: decision}, {topic: requests, kind: request}]\n"+
		"topics: {create: true, partitions: %d}\nrules: %s\ndata: %s\nhttp: {listen: %q, pprof: true}\n%s\n",
		r.reach, r.partitions, rules, filepath.Join(r.dir, "data"), r.http, *loadExtra)
	r.must(os.WriteFile(filepath.Join(r.dir, "segmentd.yaml"), []byte(r.config), 0o600))
	client, err := kafka.New(kafka.Config{Brokers: brokers})
	r.must(err)
	r.t.Cleanup(func() { _ = client.Close() })
	r.client, r.producer = client, client.NewProducer(kafka.ProducerConfig{Compression: kafka.LZ4})
	r.createTopics()
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func freeAddress(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// start runs the binary until the test ends.
func (r *rig) start(args ...string) *exec.Cmd {
	cmd := exec.Command(r.bin, args...)
	cmd.Env = append(append(environment(), "SEGMENTD_SECRET="+rigSecret), r.environ...)
	cmd.Stderr = os.Stderr
	if r.log != nil {
		cmd.Stderr = r.log
	}
	r.must(cmd.Start())
	r.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

func (r *rig) createTopics() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		if _, err := r.client.Topics(ctx); err == nil {
			break
		} else if ctx.Err() != nil {
			r.t.Fatal(err)
		}
	}
	var topics []kafka.NewTopic
	for _, name := range inputTopics {
		topics = append(topics, kafka.NewTopic{Name: name, Partitions: r.partitions, ReplicationFactor: -1, Configs: soakRetention(name)})
	}
	_, err := r.client.CreateTopics(ctx, topics)
	r.must(err)
	r.must(r.client.WaitTopics(ctx, inputTopics...))
}

func (r *rig) send(topic string, ms []stream.Message) {
	for i := range ms {
		ms[i].Topic = topic
		ms[i].Partition, _ = kafka.Murmur2.Partition(ms[i].Key, r.partitions)
	}
	_, err := r.producer.Send(context.Background(), ms)
	r.must(err)
}

// preload gives every subject a consent and starts the processor, which takes them in.
func (r *rig) preload() {
	given := time.Now().Add(-time.Hour)
	for first := 0; first < *loadSubjects; first += 10_000 {
		var ms []stream.Message
		for i := first; i < min(first+10_000, *loadSubjects); i++ {
			key, value := load.Decision(uint64(i), given)
			ms = append(ms, stream.Message{Timestamp: subject.FromTime(given), Key: key, Value: value})
		}
		r.send("decisions", ms)
	}
	r.startProcessor()
	// One event per partition moves the clocks to the present, so that consents are in force.
	r.send("events", r.events(1000))
	r.await(func() bool { return r.processed() >= 1000 })
	r.awaitQuiet()
}

func (r *rig) events(n int) []stream.Message {
	ms := make([]stream.Message, n)
	for i := range ms {
		now := time.Now()
		key, value := r.source.Event(now)
		ms[i] = stream.Message{Timestamp: subject.FromTime(now), Key: key, Value: value}
	}
	return ms
}

// processed is the number of events that have an outcome.
func (r *rig) processed() float64 { return r.metric("segmentd_events_total") }

// awaitQuiet waits until no transaction is committed for two seconds.
func (r *rig) awaitQuiet() {
	last, since := -1.0, time.Now()
	r.await(func() bool {
		if n := r.metric(`segmentd_transactions_total{outcome="committed"}`); n != last {
			last, since = n, time.Now()
		}
		return time.Since(since) > 2*time.Second
	})
}

// await asks ten times a second, for ten minutes at most.
func (r *rig) await(done func() bool) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for range 6000 {
		if done() {
			return
		}
		<-tick.C
	}
	r.t.Fatal("waited for ten minutes")
}

var metricLine = regexp.MustCompile(`(?m)^([a-z_]+)(\{[^}]*\})? (\S+)$`)

// metric sums a metric's series, or those that are named with labels, over all instances.
func (r *rig) metric(name string) (sum float64) {
	for _, v := range r.series(name) {
		sum += v
	}
	return sum
}

// series are a metric's series on all instances.
func (r *rig) series(name string) (values []float64) {
	for _, address := range append([]string{r.http}, r.others...) {
		body, err := get("http://" + address + "/metrics")
		if err != nil {
			continue
		}
		for _, m := range metricLine.FindAllStringSubmatch(body, -1) {
			if m[1] == name || m[1]+m[2] == name {
				v, _ := strconv.ParseFloat(m[3], 64)
				values = append(values, v)
			}
		}
	}
	return values
}

// backlog stops the processor, produces events, starts it again and measures
// how it works them off. CPU seconds are the processor's alone.
func (r *rig) backlog() (events int, seconds, cpu float64) {
	before := r.topicBytes("segmentd-changelog")
	r.must(r.run.Process.Signal(os.Interrupt))
	_ = r.run.Wait()
	for sent := 0; sent < *loadEvents; sent += 10_000 {
		r.send("events", r.events(min(10_000, *loadEvents-sent)))
	}
	r.startProcessor()
	r.await(func() bool { return r.processed() > 0 })
	first, from, cpuFrom := r.processed(), time.Now(), r.metric("process_cpu_seconds_total")
	profiled := r.profile()
	r.await(func() bool { return r.processed() >= float64(*loadEvents) })
	r.must(<-profiled)
	seconds, cpu = time.Since(from).Seconds(), r.metric("process_cpu_seconds_total")-cpuFrom
	r.changelogBytes = r.topicBytes("segmentd-changelog") - before
	return *loadEvents - int(first), seconds, cpu
}

// profile writes ten seconds of the processor's CPU to -load-profile, if that is given.
func (r *rig) profile() <-chan error {
	done := make(chan error, 1)
	if *loadProfile == "" {
		done <- nil
		return done
	}
	go func() {
		page, err := get("http://" + r.http + "/debug/pprof/profile?seconds=10")
		if err == nil {
			err = os.WriteFile(*loadProfile, []byte(page), 0o600)
		}
		done <- err
	}()
	return done
}

// topicBytes is the size of a topic's record batches on the broker's disk.
func (r *rig) topicBytes(topic string) int64 {
	if !r.real {
		return sizeOf(filepath.Join(r.dir, "broker"), topic)
	}
	admin, err := kadm.NewOptClient(kgo.SeedBrokers(strings.Split(r.brokers, ",")...))
	r.must(err)
	defer admin.Close()
	dirs, err := admin.DescribeAllLogDirs(context.Background(), nil)
	r.must(err)
	var sum int64
	for _, brokerDirs := range dirs {
		r.must(brokerDirs.Error())
		brokerDirs.EachPartition(func(p kadm.DescribedLogDirPartition) {
			if p.Topic == topic {
				sum += p.Size
			}
		})
	}
	return sum
}

// sizeOf sums the sizes of the files below a directory that have a text in their
// paths and, for a topic's, hold records.
func sizeOf(dir, part string) (sum int64) {
	_ = filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() && (part == "" || strings.HasSuffix(path, ".dat") && strings.Contains(path, part)) {
			sum += info.Size()
		}
		return nil // what vanishes meanwhile is not counted
	})
	return sum
}

// latency produces at a rate, open loop, and reads the changes read_committed:
// the time from the instant at which an event was due to be sent until the
// change it caused is read.
func (r *rig) latency(rate float64, length time.Duration) {
	all, late := r.latencies(rate, length)
	at := func(q float64) time.Duration { return quantile(all, q) }
	r.t.Logf("latency         p50 %s, p90 %s, p99 %s, max %s at %.0f events/s for %s (%d changes; generator at most %s late)",
		at(0.5), at(0.9), at(0.99), at(1), rate, length, len(all), late.Round(time.Millisecond))
}

// latencies are those that latency tells, sorted, at least one, and how late the
// generator was at most.
func (r *rig) latencies(rate float64, length time.Duration) (all []time.Duration, late time.Duration) {
	ctx, stop := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Add(1)
	go func() {
		defer group.Done()
		r.readLatencies(ctx, func(d time.Duration) { all = append(all, d) })
	}()
	r.drive(ctx, rate, length, func(d time.Duration) { late = max(late, d) })
	<-time.After(2 * time.Second)
	stop()
	group.Wait()
	if len(all) == 0 {
		r.t.Fatal("no change was read")
	}
	slices.Sort(all)
	return all, late
}

// quantile is a value of sorted ones, which must not be none.
func quantile(sorted []time.Duration, q float64) time.Duration {
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))].Round(100 * time.Microsecond)
}

// drive sends events at a rate, open loop, until the length or ctx is over, and
// tells how late each piece was sent.
func (r *rig) drive(ctx context.Context, rate float64, length time.Duration, observe func(late time.Duration)) {
	began, sent := time.Now(), 0
	for sent < int(rate*length.Seconds()) && ctx.Err() == nil {
		due := began.Add(time.Duration(float64(sent) / rate * float64(time.Second)))
		if wait := time.Until(due); wait > 0 {
			<-time.After(wait)
		} else {
			observe(-wait)
		}
		n := max(1, int(rate/200)) // what is due within 5 ms
		ms := make([]stream.Message, n)
		for i := range ms {
			key, value := r.source.Event(due)
			ms[i] = stream.Message{Timestamp: subject.FromTime(due), Key: key, Value: value}
		}
		r.send("events", ms)
		sent += n
	}
}

// readLatencies reads the changes of all partitions from their present end, and
// tells how long each took, until ctx ends.
func (r *rig) readLatencies(ctx context.Context, observe func(time.Duration)) {
	r.follow(ctx, "segmentd-changes", func(value []byte, now time.Time) {
		if d, ok := latencyOf(value, now); ok {
			observe(d)
		}
	})
}

// follow reads a topic of ours from its present end, read_committed, until ctx
// ends, and tells each value and when it was read.
func (r *rig) follow(ctx context.Context, topic string, each func(value []byte, now time.Time)) {
	marks, err := r.client.Watermarks(ctx, topic, r.partitions)
	if err != nil {
		return
	}
	positions := make([]stream.Position, len(marks))
	for i, m := range marks {
		positions[i] = stream.Position{Topic: topic, Partition: m.Partition, Offset: m.End}
	}
	var buf stream.Buffer
	for ctx.Err() == nil {
		fetched, err := r.client.Fetch(ctx, positions, stream.FetchOptions{MaxWait: 100 * time.Millisecond, MaxBytes: 1 << 20}, &buf)
		if err != nil {
			continue
		}
		now := time.Now()
		for i := range fetched {
			positions[i].Offset = fetched[i].Next
			for j := range fetched[i].Records {
				each(fetched[i].Records[j].Value, now)
			}
		}
	}
}

func latencyOf(change []byte, now time.Time) (time.Duration, bool) {
	var c struct {
		CausedBy string `json:"causedBy"`
	}
	if json.Unmarshal(change, &c) != nil {
		return 0, false
	}
	at := strings.LastIndexByte(c.CausedBy, '-')
	if at < 0 {
		return 0, false
	}
	ns, err := strconv.ParseInt(c.CausedBy[at+1:], 10, 64)
	return now.Sub(time.Unix(0, ns)), err == nil
}
