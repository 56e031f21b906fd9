package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/segmentd/segmentd/config"
	"github.com/segmentd/segmentd/processor/kafka"
	"github.com/segmentd/segmentd/processor/replay"
	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/processor/wire"
	"github.com/segmentd/segmentd/state/subject"
)

type produceFlags struct {
	topic      string
	rate       int
	partitions int
}

func produceCommand() command {
	return command{
		name: "produce", args: "FILE…", summary: "Send NDJSON records to Kafka, keyed by their subject",
		details: `
Sends each line of the files ("-" is stdin; .gz and .zst are decompressed) as one record whose key is its userId or
anonymousId, on the partition that Java clients choose (murmur2). If the topic is an input of the configuration, its
partitioner is used, and its map tells the subjects of records of another shape; if the map reads key or headers, a
line is {"key": "…", "headers": {"…": "…"}, "value": …}. A topic that does not exist is created only with --partitions.
Records are dated when they are sent: a line waits for others for 100 ms at most, also where stdin stays open. SIGINT
and SIGTERM end stdin after what was read of it (exit status 0); within a file the line is told (exit status 3).

  segmentd produce --brokers 127.0.0.1:9092 --topic events events.ndjson`,
		setup: func(fs *pflag.FlagSet) func(context.Context, *invocation) error {
			var f produceFlags
			config.AddFlags(fs, "config", "brokers", "log-format", "log-level")
			fs.StringVar(&f.topic, "topic", "", "topic to send to (required)")
			fs.IntVar(&f.rate, "rate", 0, "records a second; 0: as fast as they are taken")
			fs.IntVar(&f.partitions, "partitions", 0, "create the topic with so many partitions if it does not exist")
			return func(ctx context.Context, inv *invocation) error {
				if f.topic == "" || len(inv.args) == 0 {
					return usagef("give --topic and at least one FILE")
				}
				cfg, err := loadConfig(inv, config.NeedBroker)
				if err != nil {
					return err
				}
				return f.run(ctx, inv, cfg)
			}
		},
	}
}

func (f *produceFlags) run(ctx context.Context, inv *invocation, cfg *config.Config) error {
	if what := f.stranger(cfg); what != "" {
		fmt.Fprintf(inv.err, "%s; its lines are read in segmentd's own shapes\n", what)
	}
	client, err := connect(cfg, nil, inv.log)
	if err != nil {
		return err
	}
	defer client.Close()
	n, err := f.ensureTopic(ctx, client, cfg, inv)
	if err != nil {
		return err
	}
	s := &sender{producer: client.NewProducer(kafka.ProducerConfig{}), topic: f.topic, partitions: n, rate: f.rate, turn: time.Now(),
		partitioner: kafka.Murmur2, progress: newProgress(inv.err, "records sent")}
	if err := s.follow(cfg); err != nil {
		return usageError(err)
	}
	for _, path := range inv.args {
		if err := s.sendFile(ctx, inv, path); err != nil {
			return err
		}
	}
	s.progress.done(s.sent)
	s.complaints.end(inv.err)
	fmt.Fprintf(inv.err, "%s sent to %s", count(s.sent, "record"), f.topic)
	if s.skipped > 0 {
		fmt.Fprintf(inv.err, ", %s skipped\n", count(s.skipped, "line"))
		return inputError(errPrinted)
	}
	fmt.Fprintln(inv.err)
	return nil
}

// stranger says that the topic is no input of a configuration that has inputs.
func (f *produceFlags) stranger(cfg *config.Config) string {
	var inputs []string
	for _, in := range cfg.Inputs {
		inputs = append(inputs, in.Topic)
	}
	if len(inputs) == 0 || slices.Contains(inputs, f.topic) {
		return ""
	}
	return fmt.Sprintf("%s is no input of the configuration, which has %s", f.topic, strings.Join(inputs, ", "))
}

func (f *produceFlags) ensureTopic(ctx context.Context, client *kafka.Client, cfg *config.Config, inv *invocation) (int32, error) {
	topics, err := describe(ctx, client, cfg, inv.log, []string{f.topic})
	if err != nil {
		return 0, err
	}
	if t, ok := topics[f.topic]; ok {
		return t.Partitions, nil
	}
	if f.partitions < 1 {
		return 0, usagef("there is no topic %s; --partitions N creates it", f.topic)
	}
	if _, err := client.CreateTopics(ctx, []kafka.NewTopic{{Name: f.topic, Partitions: int32(f.partitions), ReplicationFactor: -1}}); err != nil {
		return 0, environmentError(fmt.Errorf("create topic %s: %w", f.topic, err))
	}
	if err := client.WaitTopics(ctx, f.topic); err != nil {
		return 0, environmentError(err)
	}
	return int32(f.partitions), nil
}

// sender sends lines in batches.
type sender struct {
	producer   *kafka.Producer
	topic      string
	partitions int32

	partitioner kafka.Partitioner
	input       *replay.Input // of the configuration; nil: lines have segmentd's own shapes
	decoder     *wire.Decoder // of the input

	rate     int
	turn     time.Time // of the next batch, by the rate
	batch    []stream.Message
	bytes    int
	since    time.Time // the first of the batch waits
	sent     int64
	skipped  int64
	progress *progress

	complaints complaints
}

// Batches end at these sizes, and when their first line has waited for produceLinger (at
// a rate: for its turn).
const (
	produceBatchRecords = 5_000
	produceBatchBytes   = 4 << 20
	produceLinger       = 100 * time.Millisecond
)

const (
	produceGrace   = 5 * time.Second // that a batch may still take once ctx has ended
	produceCatchUp = time.Second     // of the rate, after a time in which less came
)

// sendFile sends the lines of a file as they come. If ctx ends it sends those that were
// read by then: of stdin that is all that was asked for, within a file it is an error.
func (s *sender) sendFile(ctx context.Context, inv *invocation, path string) error {
	source, closer, err := replay.Open(path, inv.in)
	if err != nil {
		return inputError(err)
	}
	stop := make(chan struct{})
	defer close(stop)
	pieces := readPieces(source.Reader, closer, stop)
	for number := int64(0); ; {
		p := s.await(ctx, pieces)
		for _, line := range p.lines {
			number++
			if what := s.add(strings.TrimSpace(line)); what != "" {
				s.skipped++
				s.complaints.add(inv.err, fmt.Sprintf("%s:%d", path, number), what)
			}
			if s.full(ctx) {
				if err := s.flush(ctx); err != nil {
					return err
				}
			}
		}
		if p.err != nil || s.untilDue() <= 0 {
			if err := s.flush(ctx); err != nil {
				return err
			}
		}
		switch {
		case p.err == nil:
		case p.err == io.EOF, p.err == ctx.Err() && path == "-":
			return nil
		case p.err == ctx.Err():
			return environmentError(fmt.Errorf("%s: interrupted after line %d, with %s sent to %s", path, number, count(s.sent, "record"), s.topic))
		default:
			return inputError(fmt.Errorf("%s:%d: %w", path, number, p.err))
		}
	}
}

// await returns the next piece, an empty one once the batch is due, and once ctx has
// ended what was there until then as the last.
func (s *sender) await(ctx context.Context, pieces <-chan piece) (p piece) {
	var due <-chan time.Time
	if len(s.batch) > 0 {
		due = time.After(s.untilDue())
	}
	select {
	case p = <-pieces:
	case <-due:
	case <-ctx.Done():
		select {
		case p = <-pieces:
		case <-time.After(produceLinger):
		}
		p.err = cmp.Or(p.err, ctx.Err())
	}
	return p
}

// untilDue is how long the batch may still wait for more.
func (s *sender) untilDue() time.Duration { return time.Until(s.since.Add(produceLinger)) }

// follow sends as the configured input of the topic, if there is one, is read.
func (s *sender) follow(cfg *config.Config) error {
	i := slices.IndexFunc(cfg.Inputs, func(in config.Input) bool { return in.Topic == s.topic })
	if i < 0 {
		return nil
	}
	in := cfg.Inputs[i]
	partitioner, err := kafka.ParsePartitioner(in.Partitioner)
	if err != nil {
		return err
	}
	if partitioner != kafka.Any {
		s.partitioner = partitioner
	}
	if len(in.Map) == 0 {
		return nil
	}
	options, err := inputDecoder(in)
	s.input = &replay.Input{Kind: inputKind(in), Decoder: options}
	s.decoder = wire.NewDecoder(options)
	return err
}

// add queues a line, unless it is empty, under its subject's id; what says why it cannot.
func (s *sender) add(line string) (what string) {
	if line == "" {
		return ""
	}
	m := stream.Message{Topic: s.topic, Value: []byte(line)}
	shaped := m.Value
	if s.input != nil {
		record, err := s.input.Record(m.Value)
		if err != nil {
			return err.Error()
		}
		var rejected *wire.Reject
		if shaped, rejected = s.decoder.Rewritten(s.input.Kind, record); rejected != nil {
			return rejected.String()
		}
		m.Value, m.Headers = record.Value, record.Headers
	}
	var id struct {
		UserID      string `json:"userId"`
		AnonymousID string `json:"anonymousId"`
	}
	if err := json.Unmarshal(shaped, &id); err != nil {
		return "not a JSON object with a text as userId or anonymousId"
	}
	key := cmp.Or(id.UserID, id.AnonymousID)
	if key == "" {
		return "no userId or anonymousId"
	}
	m.Key = []byte(key)
	m.Partition, _ = s.partitioner.Partition(m.Key, s.partitions)
	if len(s.batch) == 0 {
		s.since = time.Now()
	}
	s.batch = append(s.batch, m)
	s.bytes += len(line)
	return ""
}

func (s *sender) full(ctx context.Context) bool {
	limit := produceBatchRecords
	if s.rate > 0 && ctx.Err() == nil {
		limit = min(limit, max(1, s.rate/10))
	}
	return len(s.batch) >= limit || s.bytes >= produceBatchBytes
}

// flush sends what is queued, no earlier than the rate allows unless ctx ends. What is
// being sent then may take produceGrace.
func (s *sender) flush(ctx context.Context) error {
	if len(s.batch) == 0 {
		return nil
	}
	s.pace(ctx)
	sending, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(produceGrace, cancel) })()
	now := subject.FromTime(time.Now())
	for i := range s.batch {
		s.batch[i].Timestamp = now
	}
	if _, err := s.producer.Send(sending, s.batch); err != nil {
		return environmentError(fmt.Errorf("send to %s after %s: %w", s.topic, count(s.sent, "record"), err))
	}
	s.sent += int64(len(s.batch))
	s.batch, s.bytes = s.batch[:0], 0
	s.progress.show(s.sent)
	return nil
}

// pace waits for the turn of what is queued.
func (s *sender) pace(ctx context.Context) {
	if s.rate == 0 {
		return
	}
	if least := time.Now().Add(-produceCatchUp); s.turn.Before(least) {
		s.turn = least
	}
	select {
	case <-time.After(time.Until(s.turn)):
	case <-ctx.Done():
	}
	s.turn = s.turn.Add(time.Duration(float64(len(s.batch)) / float64(s.rate) * float64(time.Second)))
}

// progress shows a count on a terminal, a few times a second.
type progress struct {
	w     io.Writer
	what  string
	began time.Time
	last  time.Time
}

// newProgress returns nil, which shows nothing, where w is no terminal.
func newProgress(w io.Writer, what string) *progress {
	f, ok := w.(*os.File)
	if !ok {
		return nil
	}
	if info, err := f.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return nil
	}
	return &progress{w: w, what: what, began: time.Now()}
}

func (p *progress) show(n int64) {
	if p == nil || time.Since(p.last) < 200*time.Millisecond {
		return
	}
	p.last = time.Now()
	fmt.Fprintf(p.w, "\r\x1b[K%d %s (%.0f/s)", n, p.what, float64(n)/time.Since(p.began).Seconds())
}

// say shows a text, with how long it has been going on.
func (p *progress) say(text string) {
	if p != nil {
		fmt.Fprintf(p.w, "\r\x1b[K%s, %s", text, time.Since(p.began).Round(time.Second))
	}
}

func (p *progress) done(int64) {
	if p != nil {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
