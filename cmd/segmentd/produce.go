package main

import (
	"bufio"
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
	s := &sender{producer: client.NewProducer(kafka.ProducerConfig{}), topic: f.topic, partitions: n, rate: f.rate, began: time.Now(),
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
	began    time.Time
	batch    []stream.Message
	bytes    int
	sent     int64
	skipped  int64
	progress *progress

	complaints complaints
}

// Batches end at these sizes; at a rate also every 100 ms.
const (
	produceBatchRecords = 5_000
	produceBatchBytes   = 4 << 20
)

func (s *sender) sendFile(ctx context.Context, inv *invocation, path string) error {
	source, closer, err := replay.Open(path, inv.in)
	if err != nil {
		return inputError(err)
	}
	defer closer.Close()
	lines := bufio.NewReaderSize(source.Reader, 1<<20)
	for number := int64(1); ; number++ {
		line, err := lines.ReadString('\n')
		if text := strings.TrimSpace(line); text != "" {
			if what := s.add(text); what != "" {
				s.skipped++
				s.complaints.add(inv.err, fmt.Sprintf("%s:%d", path, number), what)
			}
		}
		if s.full() || err != nil {
			if err := s.flush(ctx); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return inputError(fmt.Errorf("%s:%d: %w", path, number, err))
		}
	}
}

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

// add queues a line under its subject's id; what says why it cannot.
func (s *sender) add(line string) (what string) {
	m := stream.Message{Topic: s.topic, Timestamp: subject.FromTime(time.Now()), Value: []byte(line)}
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
	s.batch = append(s.batch, m)
	s.bytes += len(line)
	return ""
}

func (s *sender) full() bool {
	limit := produceBatchRecords
	if s.rate > 0 {
		limit = min(limit, max(1, s.rate/10))
	}
	return len(s.batch) >= limit || s.bytes >= produceBatchBytes
}

// flush sends what is queued, no earlier than the rate allows.
func (s *sender) flush(ctx context.Context) error {
	if len(s.batch) == 0 {
		return nil
	}
	if s.rate > 0 {
		due := s.began.Add(time.Duration(float64(s.sent) / float64(s.rate) * float64(time.Second)))
		select {
		case <-time.After(time.Until(due)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if _, err := s.producer.Send(ctx, s.batch); err != nil {
		return environmentError(fmt.Errorf("send to %s after %s: %w", s.topic, count(s.sent, "record"), err))
	}
	s.sent += int64(len(s.batch))
	s.batch, s.bytes = s.batch[:0], 0
	s.progress.show(s.sent)
	return nil
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
