package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/segmentd/segmentd/cmd/segmentd/internal/shop"
	"github.com/segmentd/segmentd/processor"
	"github.com/segmentd/segmentd/processor/kafka"
	"github.com/segmentd/segmentd/processor/kafka/kafkatest"
	"github.com/segmentd/segmentd/processor/replay"
	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/processor/wire"
	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state/subject"
)

const (
	crashPartitions = 3
	crashGroup      = "crash"
	crashSecret     = "SEGMENTD_SECRET=0123456789abcdef0123456789abcdef"
)

// TestCrashAtRandom kills the processor (kill -9) at random moments while it
// works off a backlog, a shop's history, and compares what it published in the end with a
// replay of the same inputs. SEGMENTD_CRASH_KILLS sets how often it is killed,
// SEGMENTD_CRASH_SEED repeats a run's moments as far as the machine allows.
func TestCrashAtRandom(t *testing.T) {
	if testing.Short() {
		t.Skip("starts and kills processes")
	}
	c := newCrash(t)
	c.startBroker()
	history := c.history(numberFrom(t, "SEGMENTD_CRASH_RECORDS", 20_000))
	c.createInputs()
	c.produce(history)
	kills := numberFrom(t, "SEGMENTD_CRASH_KILLS", 10)
	joined := 0
	for i := range kills {
		p := c.startProcessor()
		if i%2 == 1 { // others are killed while they start
			c.until("it begins", func() bool { return strings.Contains(p.log.String(), "generation begins") })
		}
		moment := time.Duration(c.rng.Int64N(int64(1500 * time.Millisecond)))
		c.alive(p, moment)
		p.kill()
		if strings.Contains(p.log.String(), "generation begins") {
			joined++
		}
	}
	if t.Logf("%d of %d kills hit a processor at work", joined, kills); joined < kills/4 {
		t.Error("too few kills hit a processor at work")
	}
	p := c.startProcessor()
	c.awaitEnd()
	p.stops(0)
	c.compare(history)
	c.verifies()
}

func numberFrom(t *testing.T, variable string, otherwise int) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return n
}

// crash is a broker process and what is run on it.
type crash struct {
	t        *testing.T
	rng      *rand.Rand
	seed     int
	dir, bin string
	broker   string // host:port,…
	real     bool   // it is not ours to start
	http     string
	client   *kafka.Client
	set      *rules.Set
}

// newCrash is on the real broker, or on one of its own.
func newCrash(t *testing.T) *crash {
	t.Helper()
	return newCrashOn(t, kafkatest.Real(t))
}

// newCrashOn is on brokers that run, or on one of its own if there are none.
func newCrashOn(t *testing.T, brokers []string) *crash {
	t.Helper()
	c := &crash{t: t, seed: numberFrom(t, "SEGMENTD_CRASH_SEED", rand.IntN(1<<30)), dir: t.TempDir(), broker: freeAddress(t), http: freeAddress(t)}
	if len(brokers) > 0 {
		c.broker, c.real = strings.Join(brokers, ","), true
	}
	t.Logf("SEGMENTD_CRASH_SEED=%d", c.seed)
	c.rng = rand.New(rand.NewPCG(uint64(c.seed), 9))
	c.bin = buildBinary(t, c.dir)
	c.must(os.MkdirAll(filepath.Join(c.dir, "rules"), 0o700))
	c.write("rules/shop.yaml", crashRules)
	c.write("c.yaml", c.config("{linger: 150ms, batch_bytes: 64KiB}"))
	var problems []rules.Problem
	if c.set, problems = rules.LoadDir(filepath.Join(c.dir, "rules")); c.set == nil {
		t.Fatal(problems)
	}
	return c
}

// config is a configuration; slow processing lets a backlog last for some kills.
func (c *crash) config(processing string) string {
	return fmt.Sprintf("group: %s\nrules: %s/rules\ndata: %s/data\ninputs: [{topic: events, kind: event}, {topic: decisions, kind: decision}]\ntopics: {create: true}\nprocessing: %s\n",
		crashGroup, c.dir, c.dir, processing)
}

// buildBinary builds segmentd into a directory, with build tags if any.
func buildBinary(t *testing.T, dir string, tags ...string) string {
	t.Helper()
	bin := filepath.Join(dir, "segmentd")
	build := exec.Command("go", "build", "-tags", strings.Join(tags, ","), "-o", bin, ".")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		t.Fatal(err)
	}
	return bin
}

// crashRules have windows of minutes: the history is of hours.
const crashRules = `
purposes:
  - {key: marketing, description: Offers, lawful_basis: consent, consent_expires_after: 3h, retention: 10h}
  - {key: personalisation, description: Hints, lawful_basis: consent, retention: 5h}
let:
  orders: events("Order Completed")
segments:
  - {key: buyer, purpose: marketing, when: 'orders.within("10m").exists()'}
  - {key: big, purpose: marketing, when: 'orders.within("40m").sum(properties.total) >= 200'}
  - {key: best, purpose: marketing, when: 'segment("big") && events("Order Refunded").count() == 0'}
  - {key: quiet, purpose: marketing, when: 'orders.within("20m").count() == 0'}
  - {key: browsing, purpose: personalisation, when: 'events("Page Viewed").within("3m").distinct(properties.name) >= 2'}
`

func (c *crash) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *crash) write(name, text string) {
	c.t.Helper()
	c.must(os.WriteFile(filepath.Join(c.dir, name), []byte(text), 0o600))
}

// process is a child process.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	log   syncBuffer
	ended chan struct{}
	err   error // once ended is closed
}

// syncBuffer is a buffer that is read while the child writes.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	heard.Hear("a log", p)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func (c *crash) start(args ...string) *process {
	c.t.Helper()
	return startProcess(c.t, []string{crashSecret, "SEGMENTD_KAFKA_BROKERS=" + c.broker}, append([]string{c.bin}, args...))
}

// startProcess starts a command that is killed with the test.
func startProcess(t *testing.T, environ, command []string) *process {
	t.Helper()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = append(environment(), environ...)
	return startCommand(t, cmd)
}

func startCommand(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, cmd: cmd, ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { defer close(p.ended); p.err = p.cmd.Wait() }()
	t.Cleanup(p.kill)
	return p
}

// environment is ours without what is said to the tests alone.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "SEGMENTD_") })
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.ended
}

// stops asks the process to end and wants an exit status.
func (p *process) stops(status int) {
	p.t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(20 * time.Second):
		p.t.Fatalf("it does not stop\n%s", p.log.String())
	}
	if got := p.cmd.ProcessState.ExitCode(); got != status {
		p.t.Fatalf("the exit status is %d (%v), want %d\n%s", got, p.err, status, p.log.String())
	}
}

func (c *crash) startBroker() {
	c.t.Helper()
	if !c.real {
		c.start("broker", "--data", filepath.Join(c.dir, "broker"), "--listen", c.broker, "--partitions", strconv.Itoa(crashPartitions))
	}
	var err error
	c.client, err = kafka.New(kafka.Config{Brokers: strings.Split(c.broker, ",")})
	c.must(err)
	c.t.Cleanup(func() { _ = c.client.Close() })
}

func (c *crash) startProcessor() *process {
	c.t.Helper()
	return c.start("run", "--config", filepath.Join(c.dir, "c.yaml"), "--listen", c.http)
}

// createInputs waits for the broker.
func (c *crash) createInputs() {
	c.t.Helper()
	c.until("the broker creates topics", func() bool {
		_, err := c.client.CreateTopics(c.t.Context(), []kafka.NewTopic{
			{Name: "events", Partitions: crashPartitions, ReplicationFactor: -1}, {Name: "decisions", Partitions: crashPartitions, ReplicationFactor: -1}})
		return err == nil
	})
	c.must(c.client.WaitTopics(c.t.Context(), "events", "decisions"))
}

func (c *crash) until(what string, so func() bool) {
	c.t.Helper()
	end := time.NewTimer(time.Minute)
	defer end.Stop()
	for !so() {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-end.C:
			c.t.Fatalf("not within a minute: %s", what)
		}
	}
}

// history is n records of a shop whose customers never take back what they
// allowed: what is read ahead of events then changes nothing. It ended long
// enough ago for every window to have run out.
func (c *crash) history(n int) []shop.Record {
	s := shop.New(shop.Config{Seed: uint64(c.seed), Customers: 150, Stops: -1, Start: time.Now().Add(-24 * time.Hour).Truncate(time.Second), Pace: 30 * time.Second})
	var all []shop.Record
	for len(all) < n {
		all = append(all, s.Next()...)
	}
	return all
}

// produce sends the history in pieces, decisions first as the shop does.
func (c *crash) produce(history []shop.Record) {
	c.t.Helper()
	producer := c.client.NewProducer(kafka.ProducerConfig{})
	for piece := range slices.Chunk(history, 200) {
		var ms []stream.Message
		for _, kind := range []shop.Kind{shop.Decision, shop.Event} {
			for _, r := range piece {
				if r.Kind == kind {
					p, _ := kafka.Murmur2.Partition([]byte(r.Key), crashPartitions)
					ms = append(ms, stream.Message{Topic: map[shop.Kind]string{shop.Decision: "decisions", shop.Event: "events"}[kind], Partition: p,
						Timestamp: subject.FromTime(r.At), Key: []byte(r.Key), Value: r.Value})
				}
			}
		}
		if err := sendAll(context.Background(), producer, ms); err != nil {
			c.t.Fatalf("produce: %v", err)
		}
	}
}

// awaitEnd waits until all is read and the clocks are near the present.
func (c *crash) awaitEnd() {
	c.t.Helper()
	c.until("everything is applied and all timers have fired", func() bool {
		body, err := get("http://" + c.http + "/metrics")
		if err != nil {
			return false
		}
		lags, clocks := series(body, "segmentd_input_lag_records"), series(body, "segmentd_clock_timestamp_seconds")
		if len(lags) != 2*crashPartitions || len(clocks) != crashPartitions || slices.Max(lags) > 0 {
			return false
		}
		return slices.Min(clocks) > float64(time.Now().Add(-time.Minute).Unix())
	})
}

// series returns the values of a metric's series.
func series(page, name string) (values []float64) {
	for line := range strings.Lines(page) {
		if strings.HasPrefix(line, name+"{") {
			fields := strings.Fields(line)
			v, err := strconv.ParseFloat(fields[len(fields)-1], 64)
			if err == nil {
				values = append(values, v)
			}
		}
	}
	return values
}

// compare holds what was published against a replay.
func (c *crash) compare(history []shop.Record) {
	c.t.Helper()
	want := map[subject.ID][]subject.Change{}
	cfg := replay.Config{Rules: c.set, Until: subject.FromTime(time.Now()), Change: func(change *subject.Change) error {
		want[change.Subject] = append(want[change.Subject], *change)
		return nil
	}}
	_, _, err := replay.Run(c.t.Context(), cfg, []replay.Source{source("decisions", history, shop.Decision), source("events", history, shop.Event)})
	c.must(err)
	got := map[subject.ID][]subject.Change{}
	n := 0
	changes := processor.Topics{Group: crashGroup}.Changes("")
	readSettled(c.t, c.client, changes, crashPartitions, func(r *stream.Record) {
		published, err := wire.ParseChange(r.Value)
		c.must(err)
		got[published.Change.Subject] = append(got[published.Change.Subject], published.Change)
		n++
	})
	different := 0
	for id := range want {
		if !slices.Equal(got[id], want[id]) {
			if different++; different == 1 {
				c.t.Errorf("%s\n got %v\nwant %v", id.Value, got[id], want[id])
			}
		}
	}
	if different > 0 || len(got) != len(want) || n == 0 {
		c.t.Errorf("%d of %d subjects differ, %d were published", different, len(want), len(got))
	}
	c.t.Logf("%d changes of %d subjects from %d records", n, len(got), len(history))
}

// readSettled reads what a topic has from its start, once no transaction is open
// on it: a broker answers the end of one before it is on the partitions.
func readSettled(t testing.TB, client *kafka.Client, topic string, partitions int32, fn func(*stream.Record)) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; {
		at, err := client.Watermarks(t.Context(), topic, partitions)
		if err == nil && !slices.ContainsFunc(at, func(w kafka.Watermarks) bool { return w.LastStable < w.End }) {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("transactions on %s are open: %v, %v", topic, at, err)
		}
		<-time.After(50 * time.Millisecond)
	}
	for p := range partitions {
		if err := readPartition(t.Context(), client, topic, p, func(_ string, _ int32, r *stream.Record) { fn(r) }); err != nil {
			t.Fatal(err)
		}
	}
}

func source(name string, history []shop.Record, kind shop.Kind) replay.Source {
	var b bytes.Buffer
	for _, r := range history {
		if r.Kind == kind {
			b.Write(append(slices.Clone(r.Value), '\n'))
		}
	}
	return replay.Source{Name: name, Reader: &b}
}

// verifies runs the command that checks the changes topics.
func (c *crash) verifies() {
	c.t.Helper()
	p := c.start("verify", "--group", crashGroup)
	<-p.ended
	if code := p.cmd.ProcessState.ExitCode(); code != 0 || !strings.Contains(p.log.String(), " 0 faults") {
		c.t.Errorf("verify ended with %d:\n%s", code, p.log.String())
	}
}
