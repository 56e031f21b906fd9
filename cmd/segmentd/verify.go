package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/segmentd/segmentd/config"
	"github.com/segmentd/segmentd/processor/kafka"
	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/processor/wire"
	"github.com/segmentd/segmentd/state/subject"
)

func verifyCommand() command {
	return command{
		name: "verify", summary: "Check that a group's changes topics are exactly once",
		details: `
Reads all changes topics of the group, read_committed, and checks that ids are those of their subject and version and
unique, that each subject's versions have no gap, and that entered and exited alternate for each subject and segment on a topic.
A topic whose oldest records are gone is checked from what is left.`,
		setup: func(fs *pflag.FlagSet) func(context.Context, *invocation) error {
			config.AddFlags(fs, "config", "brokers", "group", "log-format", "log-level")
			return func(ctx context.Context, inv *invocation) error {
				cfg, err := loadConfig(inv, config.NeedBroker)
				if err != nil {
					return err
				}
				return verify(ctx, inv, cfg)
			}
		},
	}
}

func verify(ctx context.Context, inv *invocation, cfg *config.Config) error {
	client, err := connect(cfg, nil, inv.log)
	if err != nil {
		return err
	}
	defer client.Close()
	topics, err := describe(ctx, client, cfg, inv.log, nil)
	if err != nil {
		return err
	}
	v := newVerifier(cfg.Group, inv.out)
	read := 0
	for _, name := range changesTopics(cfg.Group, topics) {
		read++
		for p := range topics[name].Partitions {
			if err := readPartition(ctx, client, name, p, v.record); err != nil {
				return environmentError(err)
			}
		}
	}
	if read == 0 {
		return inputError(fmt.Errorf("group %s has no changes topic on these brokers that this user may read", cfg.Group))
	}
	v.finish()
	fmt.Fprintf(inv.out, "%s of %s on %s: %s\n", count(v.changes, "change"), count(len(v.subjects), "subject"), count(read, "topic"), count(v.faults, "fault"))
	if v.faults > 0 {
		return inputError(errPrinted)
	}
	return nil
}

// changesTopics are the group's: <group>-changes and <group>-<output>-changes.
func changesTopics(group string, topics map[string]kafka.Topic) []string {
	var names []string
	for name := range topics {
		if strings.HasPrefix(name, group+"-") && strings.HasSuffix(name, "-changes") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// readPartition calls f for every committed record from the start to the present end.
func readPartition(ctx context.Context, client *kafka.Client, topic string, partition int32, f func(string, int32, *stream.Record)) error {
	marks, err := client.Watermarks(ctx, topic, partition+1)
	if err != nil {
		return fmt.Errorf("offsets of %s: %w", topic, err)
	}
	var buf stream.Buffer
	at, end := marks[partition].Start, marks[partition].LastStable
	for at < end {
		fetched, err := client.Fetch(ctx, []stream.Position{{Topic: topic, Partition: partition, Offset: at}},
			stream.FetchOptions{MaxBytes: 4 << 20, MaxWait: time.Second}, &buf)
		if err == nil {
			err = fetched[0].Err
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", topic, err)
		}
		for i := range fetched[0].Records {
			f(topic, partition, &fetched[0].Records[i])
		}
		at = fetched[0].Next
	}
	return nil
}

// verifier checks changes in the order of their topics.
type verifier struct {
	group    string
	out      io.Writer
	changes  int64
	faults   int64
	subjects map[subject.ID]*verified
}

// verified is what was seen of a subject. Its versions may be spread over
// several topics; within one they rise.
type verified struct {
	lowest, highest, count uint64
	sum                    uint64
	last                   map[string]uint64 // by topic
	in                     map[place]bool    // absent: not known yet
}

// place is a segment on one topic. A segment whose purpose or output has changed
// was left on the topic where it was entered, so each topic alternates by itself.
type place struct{ topic, segment string }

func newVerifier(group string, out io.Writer) *verifier {
	return &verifier{group: group, out: out, subjects: map[subject.ID]*verified{}}
}

// fault prints one finding, without the subject's id.
func (v *verifier) fault(topic string, partition int32, offset int64, what string) {
	v.faults++
	if v.faults <= 100 {
		fmt.Fprintf(v.out, "%s:%d:%d: %s\n", topic, partition, offset, what)
	}
}

func (v *verifier) record(topic string, partition int32, r *stream.Record) {
	v.changes++
	p, err := wire.ParseChange(r.Value)
	if err != nil {
		v.fault(topic, partition, r.Offset, err.Error())
		return
	}
	c := p.Change
	if string(r.Key) != c.Subject.Value {
		v.fault(topic, partition, r.Offset, "the key is not the subject's id")
	}
	if p.ID != wire.ChangeID(v.group, c.Subject, c.Version) {
		v.fault(topic, partition, r.Offset, "the id is not that of the group, subject and version")
	}
	s := v.subjects[c.Subject]
	if s == nil {
		s = &verified{lowest: c.Version, last: map[string]uint64{}, in: map[place]bool{}}
		v.subjects[c.Subject] = s
	}
	if last, ok := s.last[topic]; ok && c.Version <= last {
		v.fault(topic, partition, r.Offset, fmt.Sprintf("version %d after version %d", c.Version, last))
	}
	s.last[topic] = c.Version
	s.lowest, s.highest = min(s.lowest, c.Version), max(s.highest, c.Version)
	s.count++
	s.sum += c.Version
	v.alternates(s, topic, partition, r.Offset, &c)
}

func (v *verifier) alternates(s *verified, topic string, partition int32, offset int64, c *subject.Change) {
	if c.Kind == subject.Erased { // each changes topic has its own, after its exits
		for at, in := range s.in {
			if in && at.topic == topic {
				v.fault(topic, partition, offset, "erased, but still in "+at.segment)
			}
		}
		return
	}
	at, entered := place{topic, c.Segment}, c.Kind == subject.Entered
	if in, known := s.in[at]; known && in == entered {
		v.fault(topic, partition, offset, fmt.Sprintf("%s %s twice in a row", c.Kind, c.Segment))
	}
	s.in[at] = entered
}

// finish checks what only all topics together show.
func (v *verifier) finish() {
	for _, s := range v.subjects {
		span := s.highest - s.lowest + 1
		if s.count != span || s.sum != (s.lowest+s.highest)*span/2 {
			v.faults++
			if v.faults <= 100 {
				fmt.Fprintf(v.out, "a subject has %d changes with versions %d to %d: there is a gap or a repeat\n", s.count, s.lowest, s.highest)
			}
		}
	}
}
