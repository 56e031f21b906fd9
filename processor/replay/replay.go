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
	// Decoder holds the limits and units of sources without an Input; Fields,
	// Names and Purposes are filled from the rules.
	Decoder wire.DecoderOptions
	// Change is called for every change, in order; the change is valid during the call.
	Change func(*subject.Change) error
	// Problem is called for every line that was skipped, with what is wrong, and
	// once a source for a date that is hardly right.
	Problem func(file string, line int64, what string)
}

// Summary says what a replay did.
type Summary struct {
	Lines     int64 // read, without empty ones
	Skipped   int64 // that were reported as problems
	Refusals  int64 // decisions that could not be understood, reported too, and counted as refusals
	Decisions int64
	Requests  int64 // of data subjects
	Events    [subject.Outcomes]uint64
	Changes   int64
	Clock     subject.Instant // the newest timestamp seen; LongAgo if none was
}

// Run replays sources: one in its own order, several merged by timestamp (at
// equal timestamps requests come before decisions, and these before events). It returns the subjects as
// they stand at the end. It ends soon after ctx does, with ctx's error.
func Run(ctx context.Context, cfg Config, sources []Source) (*core.Memory, Summary, error) {
	results, err := RunTogether(ctx, []Config{cfg}, sources)
	if results == nil {
		return nil, Summary{}, err
	}
	return results[0].Records, results[0].Summary, err
}

// Result is what one of the replays of RunTogether leaves.
type Result struct {
	Records *core.Memory // the subjects as they stand at the end
	Summary Summary
}

// RunTogether is Run under several configurations, which may differ in their
// rules, over sources that are read only once. A line is skipped, and told to
// the first configuration's Problem, if none of them can use it.
func RunTogether(ctx context.Context, cfgs []Config, sources []Source) ([]Result, error) {
	m := &merge{problem: cfgs[0].Problem}
	results := make([]Result, len(cfgs))
	for i, cfg := range cfgs {
		s, err := NewStepper(cfg)
		if err != nil {
			return nil, err
		}
		m.steppers = append(m.steppers, s)
		results[i].Records = s.records
	}
	err := m.run(ctx, sources)
	for i, s := range m.steppers {
		if err == nil {
			err = s.finish(ctx)
		}
		results[i].Summary = s.Summary()
	}
	return results, err
}

// merge applies the items of several sources, the earliest first.
type merge struct {
	steppers []*Stepper
	problem  func(file string, line int64, what string)
}

func (m *merge) run(ctx context.Context, sources []Source) error {
	var open []*reader
	for _, s := range sources {
		rd := newReader(s, m.steppers)
		if ok, err := m.advance(rd); err != nil {
			return err
		} else if ok {
			open = append(open, rd)
		}
	}
	for len(open) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		first := 0
		for i := range open {
			if open[i].before(open[first]) {
				first = i
			}
		}
		if err := open[first].apply(ctx, m.steppers); err != nil {
			return err
		}
		ok, err := m.advance(open[first])
		if err != nil {
			return err
		}
		if !ok {
			open = slices.Delete(open, first, first+1)
		}
	}
	return nil
}

// advance reads the source's next good line, reporting the others.
func (m *merge) advance(rd *reader) (bool, error) {
	for {
		what, ok, err := rd.next()
		if err != nil || !ok {
			return false, err
		}
		for _, s := range m.steppers {
			s.summary.Lines++
		}
		if what == "" {
			m.misunderstood(rd)
			m.doubtUnit(rd)
			return true, nil
		}
		m.skip(rd, what)
	}
}

// misunderstood reports a decision that counts as a refusal only because it
// could not be understood.
func (m *merge) misunderstood(rd *reader) {
	what := ""
	for i := range rd.lanes {
		if l := &rd.lanes[i]; l.what == "" && l.item.Misunderstood != "" {
			m.steppers[i].summary.Refusals++
			what = l.item.Misunderstood
		}
	}
	if what != "" && m.problem != nil {
		m.problem(rd.source.Name, rd.line, "not understood, so it counts as refused: "+what)
	}
}

// doubtUnit tells once a source that its dates are hardly right.
func (m *merge) doubtUnit(rd *reader) {
	if m.problem == nil || rd.doubted {
		return
	}
	if what := rd.lanes[0].wrongUnit(); what != "" {
		rd.doubted = true
		m.problem(rd.source.Name, rd.line, what)
	}
}

func (m *merge) skip(rd *reader, what string) {
	for _, s := range m.steppers {
		s.summary.Skipped++
		if rd.countsAsEvent {
			s.summary.Events[subject.OutcomeRejected]++
		}
	}
	if m.problem != nil {
		m.problem(rd.source.Name, rd.line, what)
	}
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
	if s.Requests > 0 {
		fmt.Fprintf(&b, "requests  %d\n", s.Requests)
	}
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
