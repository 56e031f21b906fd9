package processor

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"

	"github.com/segmentd/segmentd/processor/embedded"
	"github.com/segmentd/segmentd/processor/kafka"
	"github.com/segmentd/segmentd/processor/kafka/kafkatest"
	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/processor/wire"
	"github.com/segmentd/segmentd/rules"
	spelling "github.com/segmentd/segmentd/state/canary"
	"github.com/segmentd/segmentd/state/subject"
)

func TestMain(m *testing.M) {
	if text := os.Getenv(victimVariable); text != "" {
		beVictim(text)
		return
	}
	goleak.VerifyTestMain(heard.Over(m))
}

// heard is all that the processors of these tests say, and the ids of all inputs
// that labs are given: nobody's may be in it.
var heard spelling.Watch

// The inputs of every lab.
const (
	events    = "events"
	decisions = "decisions"
	requests  = "requests"
)

const secret = "a secret of at least sixteen bytes"

// lab is a broker with topics, and what a processor on it is made of. Tests
// change its fields before they start one.
type lab struct {
	t        testing.TB
	broker   *kafkatest.Broker
	client   *kafka.Client
	producer *kafka.Producer
	set      *rules.Set
	cfg      Config
	data     string  // of the image
	only     []int32 // partitions that it is given; nil: all
	remains  func(topic string) (Remains, bool)

	secret string
	held   atomic.Pointer[time.Time] // where the host's clock stands still; nil: it runs
	skew   atomic.Int64              // nanoseconds that the host's clock is ahead
	log    logBuffer

	// transactor and fetcher stand between the processor and the broker.
	transactor  func(string) stream.Transactor
	fetcher     stream.Fetcher
	checkMember func(context.Context, stream.GroupMember) error // nil: none
	topicIDs    func(context.Context, ...string) (map[string]string, error)
}

// labConfig says what a lab has. The zero one has shopRules and two partitions.
type labConfig struct {
	rules      string
	set        *rules.Set
	partitions int32
	broker     embedded.Config
	own        bool // the broker will be taken away
}

func newLab(t testing.TB, c labConfig) *lab {
	t.Helper()
	if c.partitions == 0 {
		c.partitions = 2
	}
	c.broker.MinSessionTimeout = time.Second
	start := kafkatest.Start
	if c.own {
		start = kafkatest.StartOwn
	}
	l := &lab{t: t, broker: start(t, c.broker), set: c.set, data: t.TempDir() + "/data", secret: secret}
	if l.set == nil {
		l.set = loadRules(t, c.rules)
	}
	l.cfg = Config{Group: "shop", Partitions: c.partitions, Linger: time.Millisecond, Idle: 20 * time.Millisecond, staleMetadata: 20 * time.Millisecond,
		Inputs: []Input{l.input(events, wire.Events), l.input(decisions, wire.Decisions), l.input(requests, wire.Requests)}}
	l.connect()
	l.createTopics()
	return l
}

// holdClock makes the host's clock stand still: then events alone move the
// partitions' clocks.
func (l *lab) holdClock(at time.Time) { l.held.Store(&at) }

func (l *lab) releaseClock() { l.held.Store(nil) }

func (l *lab) now() time.Time {
	if at := l.held.Load(); at != nil {
		return *at
	}
	return time.Now().Add(time.Duration(l.skew.Load()))
}

func (l *lab) connect() {
	client, err := kafka.New(kafka.Config{Brokers: l.broker.Addrs()})
	must(l.t, err)
	l.t.Cleanup(func() { _ = client.Close() })
	l.client, l.fetcher, l.producer = client, client, client.NewProducer(kafka.ProducerConfig{})
	l.topicIDs = client.TopicIDs
	l.transactor = func(id string) stream.Transactor {
		return client.NewTransactor(kafka.TransactorConfig{TransactionalID: id, Compression: kafka.Zstd})
	}
}

func (l *lab) input(topic string, kind wire.Kind) Input {
	return Input{Topic: topic, Kind: kind, Partitioner: "murmur2", Partition: murmur2}
}

func murmur2(key []byte, n int32) int32 {
	p, _ := kafka.Murmur2.Partition(key, n)
	return p
}

func (l *lab) createTopics() {
	specs := (Topics{l.cfg.Group}).Specs(l.set)
	anyTime := map[string]string{"message.timestamp.after.max.ms": "9223372036854775807"} // for tests whose clock runs ahead
	topics := []kafka.NewTopic{{Name: events, Configs: anyTime}, {Name: decisions, Configs: anyTime}, {Name: requests, Configs: anyTime}}
	for _, s := range specs {
		topics = append(topics, kafka.NewTopic{Name: s.Name, Partitions: s.Partitions, Configs: s.Configs})
	}
	var names []string
	for i := range topics {
		topics[i].Partitions, topics[i].ReplicationFactor = cmp.Or(topics[i].Partitions, l.cfg.Partitions), 1
		names = append(names, topics[i].Name)
	}
	_, err := l.client.CreateTopics(l.t.Context(), topics)
	must(l.t, err)
	must(l.t, l.client.WaitTopics(l.t.Context(), names...))
}

// loadRules compiles one rule file; "" is shopRules.
func loadRules(t testing.TB, text string) *rules.Set {
	t.Helper()
	if text == "" {
		text = shopRules
	}
	set, problems := loadText(text)
	if set == nil {
		t.Fatal(problems)
	}
	return set
}

func loadText(text string) (*rules.Set, []rules.Problem) {
	return rules.Load(fstest.MapFS{"rules.yaml": {Data: []byte(text)}})
}

// record is one input record.
type record struct {
	topic string
	key   string
	value string
	at    time.Time // its own timestamp; zero: now
	to    int32     // partition, if misplaced
	wrong bool      // misplaced: it goes to partition to
	bare  bool      // without a key

	headers []stream.Header
}

func (l *lab) message(r record) stream.Message {
	at := r.at
	heard.KeepRecord([]byte(r.value))
	if at.IsZero() {
		at = time.Now()
	}
	m := stream.Message{Topic: r.topic, Partition: murmur2([]byte(r.key), l.cfg.Partitions), Timestamp: subject.FromTime(at),
		Key: []byte(r.key), Value: []byte(r.value), Headers: r.headers}
	if r.wrong {
		m.Partition = r.to
	}
	if r.bare {
		m.Key = nil
	}
	return m
}

// produceBatch is how many records share a produce request, so that inputs are
// many record batches.
const produceBatch = 50

// produce sends records, those of one partition in order, and waits until they
// are acknowledged. It returns where the last ones went.
func (l *lab) produce(records ...record) (produced []stream.Produced) {
	l.t.Helper()
	for batch := range slices.Chunk(records, produceBatch) {
		messages := make([]stream.Message, len(batch))
		for i := range batch {
			messages[i] = l.message(batch[i])
		}
		var err error
		produced, err = l.producer.Send(l.t.Context(), messages)
		must(l.t, err)
	}
	return produced
}

// readTopic returns every committed record of a topic, partition by partition.
func (l *lab) readTopic(topic string) (all []stream.Record) {
	l.t.Helper()
	for p := range l.partitionsOf(topic) {
		all = append(all, l.readPartition(topic, p)...)
	}
	return all
}

// partitionsOf is how many partitions a topic has.
func (l *lab) partitionsOf(topic string) int32 {
	for _, s := range (Topics{l.cfg.Group}).Specs(l.set) {
		if s.Name == topic {
			return cmp.Or(s.Partitions, l.cfg.Partitions)
		}
	}
	return l.cfg.Partitions
}

// watermarks asks until all partitions have a leader.
func (l *lab) watermarks(topic string) (marks []kafka.Watermarks) {
	l.t.Helper()
	eventually(l.t, topic+" has leaders", func() bool {
		var err error
		marks, err = l.client.Watermarks(l.t.Context(), topic, l.partitionsOf(topic))
		return err == nil
	})
	return marks
}

// readPartition reads a partition to its end, once no transaction is open there.
func (l *lab) readPartition(topic string, partition int32) (all []stream.Record) {
	l.t.Helper()
	var marks []kafka.Watermarks
	eventually(l.t, "the transactions on "+topic+" end", func() bool {
		marks = l.watermarks(topic)
		return marks[partition].LastStable == marks[partition].End
	})
	var buf stream.Buffer
	for at, end := marks[partition].Start, marks[partition].LastStable; at < end; {
		f, err := l.client.Fetch(l.t.Context(), []stream.Position{{Topic: topic, Partition: partition, Offset: at}},
			stream.FetchOptions{MaxBytes: 4 << 20, MaxWait: time.Second}, &buf)
		must(l.t, err)
		must(l.t, f[0].Err)
		for _, r := range f[0].Records {
			all = append(all, cloneRecord(r))
		}
		at = f[0].Next
	}
	return all
}

func cloneRecord(r stream.Record) stream.Record {
	r.Key, r.Value = bytes.Clone(r.Key), bytes.Clone(r.Value)
	headers := r.Headers
	r.Headers = nil
	for _, h := range headers {
		r.Headers = append(r.Headers, stream.Header{Key: h.Key, Value: bytes.Clone(h.Value)})
	}
	return r
}

// changes reads the changes topic, in the order of each partition.
func (l *lab) changes() (all []subject.Change) {
	l.t.Helper()
	for _, r := range l.readTopic(Topics{l.cfg.Group}.Changes("")) {
		p, err := wire.ParseChange(r.Value)
		must(l.t, err)
		all = append(all, p.Change)
	}
	return all
}

// eventually asks again and again until something is so.
func eventually(t testing.TB, what string, so func() bool) {
	t.Helper()
	end := time.NewTimer(30 * time.Second)
	defer end.Stop()
	again := time.NewTicker(3 * time.Millisecond)
	defer again.Stop()
	for !so() {
		select {
		case <-again.C:
		case <-end.C:
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// logBuffer collects what the processor logs.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

func (b *logBuffer) Write(p []byte) (int, error) {
	heard.Hear("the log", p)
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func (b *logBuffer) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// given and stop are decisions about a purpose.
func given(id, purpose string, at time.Time) record { return decision(id, purpose, "given", at) }

func decision(id, purpose, status string, at time.Time) record {
	return record{topic: decisions, key: id, at: at, value: fmt.Sprintf(
		`{"type":"decision","userId":%q,"purpose":%q,"status":%q,"timestamp":%q}`, id, purpose, status, stamp(at))}
}

// track is an event with its own message id.
func track(id, name, message string, at time.Time) record {
	return record{topic: events, key: id, at: at, value: fmt.Sprintf(
		`{"type":"track","messageId":%q,"userId":%q,"event":%q,"timestamp":%q,"properties":{"total":10,"note":%q}}`, message, id, name, stamp(at), spelling.Mark)}
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z07:00") }

// ago is an instant in whole seconds of the past, as Kafka's timestamps keep it.
func ago(d time.Duration) time.Time { return time.Now().Add(-d).Truncate(time.Second) }

func background(t testing.TB) context.Context { return t.Context() }

// shortly is a context that ends soon.
func shortly(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

func messagesOf(l *lab, records ...record) (all []stream.Message) {
	for _, r := range records {
		all = append(all, l.message(r))
	}
	return all
}

// produceAtOnce sends very many records in few requests.
func (l *lab) produceAtOnce(records []record) {
	l.t.Helper()
	for batch := range slices.Chunk(records, 5000) {
		_, err := l.producer.Send(l.t.Context(), messagesOf(l, batch...))
		must(l.t, err)
	}
}

// membersOf asks the running processor for a subject's segments, sorted; what it
// says where it cannot tell now is none.
func (l *lab) membersOf(r *running, id string) string {
	l.t.Helper()
	ms, _, err := r.processor.Lookup(l.t.Context(), subject.ID{Value: id})
	if errors.Is(err, ErrNotReady) || errors.As(err, new(*NotOwnedError)) {
		return err.Error()
	}
	must(l.t, err)
	var names []string
	for _, m := range ms {
		names = append(names, m.Segment)
	}
	slices.Sort(names)
	return strings.Join(names, ",")
}

// metric sums the series of a metric that bear the labels, given as name, value, ….
func (r *running) metric(t testing.TB, name string, labels ...string) (sum float64) {
	t.Helper()
	families, err := r.metrics.Gatherer().Gather()
	must(t, err)
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			if hasLabels(m, labels) {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return sum
}

func hasLabels(m *dto.Metric, labels []string) bool {
	for i := 0; i < len(labels); i += 2 {
		if !slices.ContainsFunc(m.GetLabel(), func(p *dto.LabelPair) bool { return p.GetName() == labels[i] && p.GetValue() == labels[i+1] }) {
			return false
		}
	}
	return true
}

// remakeInput deletes an input topic and creates it again.
func (l *lab) remakeInput(topic string) {
	l.t.Helper()
	l.broker.DeleteTopic(topic)
	l.broker.CreateTopic(topic, l.cfg.Partitions)
	must(l.t, l.client.WaitTopics(l.t.Context(), topic))
	l.producer = l.client.NewProducer(kafka.ProducerConfig{}) // the new topic knows no sequences
}

// deleteRecords removes a partition's records before an offset, as retention does.
func (l *lab) deleteRecords(topic string, partition int32, before int64) {
	l.t.Helper()
	l.broker.DeleteRecords(topic, partition, before)
}
