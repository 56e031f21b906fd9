// Package replay runs the deterministic core over files instead of Kafka: the
// same decoding, gate and rules, with the newest timestamp seen as the clock.
// On input in timestamp order it publishes what the live processor does.
package replay

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/segmentd/segmentd/processor/core"
	"github.com/segmentd/segmentd/processor/wire"
	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state/subject"
)

// Config says what is replayed. Rules is required.
type Config struct {
	Rules *rules.Set
	Core  core.Config
	// Until moves the clock on at the end; Never: it stays at the newest timestamp.
	Until subject.Instant
	// AssumeConsent names purposes to which every subject counts as having
	// consented before its first input.
	AssumeConsent []string
	// Decoder holds the limits and units of the input; Fields, Names and
	// Purposes are filled from the rules.
	Decoder wire.DecoderOptions
	// Change is called for every change, in order; the change is valid during the call.
	Change func(*subject.Change) error
	// Problem is called for every line that was skipped, with what is wrong.
	Problem func(file string, line int64, what string)
}

// Summary says what a replay did.
type Summary struct {
	Lines     int64 // read, without empty ones
	Skipped   int64 // that were reported as problems
	Refusals  int64 // decisions that could not be understood, reported too, and counted as refusals
	Decisions int64
	Events    [subject.Outcomes]uint64
	Changes   int64
	Clock     subject.Instant // the newest timestamp seen; LongAgo if none was
}

// Run replays sources: one in its own order, several merged by timestamp (at
// equal timestamps decisions come before events). It returns the subjects as
// they stand at the end.
func Run(ctx context.Context, cfg Config, sources []Source) (*core.Memory, Summary, error) {
	engine := core.New(cfg.Rules, cfg.Core)
	if err := engine.Assume(cfg.AssumeConsent); err != nil {
		return nil, Summary{}, err
	}
	records := core.NewMemory()
	r := &run{cfg: cfg, machine: core.NewMachine(engine, records, subject.LongAgo)}
	err := r.merge(ctx, sources)
	if err == nil {
		err = r.finish()
	}
	r.summary.Clock = r.machine.Clock()
	return records, r.summary, err
}

type run struct {
	cfg     Config
	machine *core.Machine
	summary Summary
}

// merge applies the sources' items, the earliest first.
func (r *run) merge(ctx context.Context, sources []Source) error {
	var open []*reader
	for _, s := range sources {
		rd := newReader(s, r.decoderOptions())
		if ok, err := r.advance(rd); err != nil {
			return err
		} else if ok {
			open = append(open, rd)
		}
	}
	for n := 0; len(open) > 0; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		first := 0
		for i := range open {
			if open[i].before(open[first]) {
				first = i
			}
		}
		if err := r.apply(&open[first].item, open[first].at); err != nil {
			return err
		}
		ok, err := r.advance(open[first])
		if err != nil {
			return err
		}
		if !ok {
			open = slices.Delete(open, first, first+1)
		}
	}
	return nil
}

func (r *run) decoderOptions() wire.DecoderOptions {
	o := r.cfg.Decoder
	o.Fields, o.Names = r.cfg.Rules.Fields, r.cfg.Rules.EventNames()
	for i := range r.cfg.Rules.Purposes {
		o.Purposes = append(o.Purposes, r.cfg.Rules.Purposes[i].Key)
	}
	return o
}

// advance reads the source's next good line, reporting the others.
func (r *run) advance(rd *reader) (bool, error) {
	for {
		what, ok, err := rd.next()
		if err != nil || !ok {
			return false, err
		}
		r.summary.Lines++
		if what == "" {
			r.misunderstood(rd)
			return true, nil
		}
		r.skip(rd, what)
	}
}

// misunderstood reports a decision that counts as a refusal only because it
// could not be understood.
func (r *run) misunderstood(rd *reader) {
	if rd.item.Misunderstood == "" {
		return
	}
	r.summary.Refusals++
	if r.cfg.Problem != nil {
		r.cfg.Problem(rd.source.Name, rd.line, "not understood, so it counts as refused: "+rd.item.Misunderstood)
	}
}

func (r *run) skip(rd *reader, what string) {
	r.summary.Skipped++
	if rd.countsAsEvent {
		r.summary.Events[subject.OutcomeRejected]++
	}
	if r.cfg.Problem != nil {
		r.cfg.Problem(rd.source.Name, rd.line, what)
	}
}

// apply moves the clock to the item's instant and applies it.
func (r *run) apply(item *wire.Item, at subject.Instant) error {
	if at != subject.Never {
		if _, err := r.machine.Advance(at, 0); err != nil {
			return err
		}
	}
	if err := r.step(item); err != nil {
		return err
	}
	return r.publish()
}

func (r *run) step(item *wire.Item) error {
	if item.Content == wire.HasEvent {
		outcome, err := r.machine.Event(item.Event)
		r.summary.Events[outcome]++
		return err
	}
	for _, d := range item.Decisions {
		r.summary.Decisions++
		if err := r.machine.Decision(d); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) finish() error {
	until := r.cfg.Until
	if until == subject.Never {
		until = r.machine.Clock()
	}
	if _, err := r.machine.Advance(until, 0); err != nil {
		return err
	}
	return r.publish()
}

// publish hands the changes on.
func (r *run) publish() error {
	engine := r.machine.Engine()
	for i := range engine.Changes {
		r.summary.Changes++
		if r.cfg.Change == nil {
			continue
		}
		if err := r.cfg.Change(&engine.Changes[i]); err != nil {
			return err
		}
	}
	engine.Changes = engine.Changes[:0]
	return nil
}

// Member is one membership as it stands at the end of a replay.
type Member struct {
	Segment string
	Subject subject.ID
	Since   subject.Instant
}

// Members lists all memberships, sorted by segment, id and type of id.
func Members(set *rules.Set, records *core.Memory) []Member {
	var all []Member
	_ = records.Each(func(rec *subject.Record) error {
		for i := range rec.Purposes {
			for _, m := range rec.Purposes[i].Members {
				if s, ok := set.SegmentByID(m.Segment); ok {
					all = append(all, Member{set.Segments[s].Key, rec.ID, m.Since})
				}
			}
		}
		return nil
	})
	slices.SortFunc(all, func(a, b Member) int {
		if c := strings.Compare(a.Segment, b.Segment); c != 0 {
			return c
		}
		if c := strings.Compare(a.Subject.Value, b.Subject.Value); c != 0 {
			return c
		}
		return int(a.Subject.Type) - int(b.Subject.Type)
	})
	return all
}

// String is the summary in words, one fact a line.
func (s Summary) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "lines     %d", s.Lines)
	if s.Skipped > 0 {
		fmt.Fprintf(&b, " (%d skipped)", s.Skipped)
	}
	fmt.Fprintf(&b, "\ndecisions %d\n", s.Decisions)
	var total uint64
	for _, n := range s.Events {
		total += n
	}
	fmt.Fprintf(&b, "events    %d\n", total)
	for o, n := range s.Events {
		if n > 0 {
			fmt.Fprintf(&b, "  %-14s %d\n", subject.Outcome(o), n)
		}
	}
	fmt.Fprintf(&b, "changes   %d\n", s.Changes)
	return b.String()
}
