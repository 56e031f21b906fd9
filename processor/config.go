// Package processor is the partition loop around the pure core: it reads a
// partition of every input, lets the core judge and apply what it read, and
// publishes changes, members, changelog, checkpoint and offsets in one Kafka
// transaction. Kafka is the truth; the local image follows it.
//
// One goroutine owns one partition number of every topic: its records, timers,
// clock and transactional producer are touched by no other.
package processor

import (
	"cmp"
	"context"
	"log/slog"
	"time"

	"github.com/segmentd/segmentd/processor/core"
	"github.com/segmentd/segmentd/processor/metrics"
	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/processor/wire"
	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state"
)

// Input is one input topic.
type Input struct {
	Topic string
	Kind  wire.Kind // wire.Events, wire.Decisions or wire.Requests
	// Partitioner is the configuration's name of how producers choose partitions.
	Partitioner string
	// Partition computes the partition of a key, on all inputs alike; nil, on all or
	// none: any, nothing is checked.
	Partition func(key []byte, partitions int32) int32
	Decoder   wire.DecoderOptions // Fields, Names and Purposes are filled from the rule set
}

// Config says what a processor does. Group and Inputs are required.
type Config struct {
	Group        string
	Inputs       []Input
	DropInputs   []string      // topics that were inputs, whose positions are forgotten
	Partitions   int32         // of every topic
	Linger       time.Duration // least time between the starts of two batches: 10 ms
	BatchBytes   int           // of events fetched at once, a topic: 512 KiB
	Idle         time.Duration // how long a fetch waits for input: 250 ms
	Core         core.Config
	OutputFormat wire.OutputFormat
	CETypePrefix string
	LogAppend    bool // the changelog's timestamps are the broker's clock
	// SessionTimeout of the consumer group: a partition that has heard nothing of
	// the broker for a third of it may soon be another's, and answers no look-ups: 10 s.
	SessionTimeout time.Duration
	// AllowRemovals lets the rules at the start remove segments that hold members.
	AllowRemovals bool

	topicWatch    time.Duration // how often the inputs' topic ids are asked for: 2 s
	staleMetadata time.Duration // how long a broker's word on topics may lag behind the others': 500 ms
	patience      time.Duration // how long records may wait before their topics are looked for: 10 s
	busyTold      time.Duration // how long a batch is judged before that is told: 15 s
	busyLimit     time.Duration // … before the partition is not ready meanwhile: 30 s
	progressEvery time.Duration // how often a restore tells how far it is: 3 s
	sweepRecords  int           // how many records a sweep looks at in one transaction; fewer where very many of them change: 20,000
	restoreKeys   int           // of how many keys a restore remembers that the last record was applied, shared by the partitions: 4 Mi, up to 150 MiB
	closeRecords  int64         // how near reading again comes before live events wait for it: 2,000
}

func (c Config) withDefaults() Config {
	c.Linger = cmp.Or(c.Linger, 10*time.Millisecond)
	c.BatchBytes = cmp.Or(c.BatchBytes, 512<<10)
	c.Idle = cmp.Or(c.Idle, 250*time.Millisecond)
	c.SessionTimeout = cmp.Or(c.SessionTimeout, 10*time.Second)
	c.topicWatch = cmp.Or(c.topicWatch, 2*time.Second)
	c.staleMetadata = cmp.Or(c.staleMetadata, 500*time.Millisecond)
	c.patience = cmp.Or(c.patience, 10*time.Second)
	c.busyTold = cmp.Or(c.busyTold, 15*time.Second)
	c.busyLimit = cmp.Or(c.busyLimit, 30*time.Second)
	c.progressEvery = cmp.Or(c.progressEvery, 3*time.Second)
	c.sweepRecords = cmp.Or(c.sweepRecords, 20_000)
	c.restoreKeys = cmp.Or(c.restoreKeys, 4<<20)
	c.closeRecords = cmp.Or(c.closeRecords, 2_000)
	return c
}

// Bounds of one transaction. A batch that reaches one is committed in parts. A
// change takes about 1 kB until it is published, in each partition's loop.
const (
	maxBatchSubjects = 6_000
	maxBatchChanges  = 6_000
	maxBatchTimers   = 5_000
	maxBatchWords    = 10_000
	timersAtOnce     = 100   // after which these bounds are looked at
	maxRejects       = 1_000 // references published a transaction; more are only counted
)

// clockDelay is how far behind the broker's present a caught-up partition's
// clock stays, for records still on their way (DESIGN.md, Clock and timers).
const clockDelay = 2 * time.Second

// Deps are what a processor needs from outside. Logger, Metrics and Now may be nil.
type Deps struct {
	Rules   *rules.Set // of this instance's files; see Processor.SettleRules
	Store   *state.Store
	Secret  string // fingerprint of the keyed hash's secret
	Fetcher stream.Fetcher
	// Bounds tells the first offset that a partition of a topic holds, and its end.
	Bounds func(ctx context.Context, topic string, partition int32) (start, end int64, err error)
	// TopicIDs tells the ids of the topics that exist among those named; "" is that
	// of one on brokers that give none. Nil: they are not known.
	TopicIDs func(ctx context.Context, topics ...string) (map[string]string, error)
	// Committed tells the offset that the group has committed of a topic's partition,
	// below 0 where it has none. Nil: it is not known.
	Committed func(ctx context.Context, topic string, partition int32) (int64, error)
	// Produces is told topics before they are written to, beyond those of Rules'
	// Topics.Specs; nil: nobody. Safe for concurrent use.
	Produces func(topics []string)
	// CheckMember asks whether a member is one of its group's present generation;
	// stream.ErrFenced: it is not. A partition asks before it fences other owners;
	// nil: it never asks. Safe for concurrent use.
	CheckMember func(ctx context.Context, member stream.GroupMember) error
	// Remains tells by when what was erased is gone from a topic of the group, by the
	// settings that the topic has; ok is false where they are not known. Nil: of none.
	// Safe for concurrent use; it does not wait for the brokers.
	Remains func(topic string) (r Remains, ok bool)
	// Transactor returns the producer of a transactional id.
	Transactor func(transactionalID string) stream.Transactor
	// Producer sends what is submitted; nil: nothing is. One goroutine at a time uses it.
	Producer stream.Producer
	Logger   *slog.Logger
	Metrics  *metrics.Metrics
	Now      func() time.Time // the wall clock; only idle partitions' clocks follow it
}

func (d Deps) withDefaults() (Deps, error) {
	if d.Logger == nil {
		d.Logger = slog.New(slog.DiscardHandler)
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.CheckMember == nil {
		d.CheckMember = func(context.Context, stream.GroupMember) error { return nil }
	}
	if d.Remains == nil {
		d.Remains = func(string) (Remains, bool) { return Remains{}, false }
	}
	if d.Produces == nil {
		d.Produces = func([]string) {}
	}
	if d.Metrics == nil {
		m, err := metrics.New(metrics.Config{PerSegment: true}, metrics.Deps{})
		if err != nil {
			return d, err
		}
		d.Metrics = m
	}
	return d, nil
}
