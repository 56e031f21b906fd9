package ruletest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state/subject"
)

// Result is what became of one test.
type Result struct {
	Test     string
	File     string
	Line     int
	Failures []Failure
	// Notes say what happened to records on the way that may explain a failure.
	Notes []string
	Took  time.Duration
}

// Failed reports whether something was not as expected.
func (r *Result) Failed() bool { return len(r.Failures) > 0 }

// Failure is an expectation that does not hold, or a step that could not be taken.
type Failure struct {
	Place        string // file:line:column
	What         string // one line
	Rows         []Row  // expected beside actual; none for steps
	Explanations []string
}

// Row is one thing expected beside what is so. Empty: there is none.
type Row struct {
	Expected string `json:"expected"`
	Actual   string `json:"actual"`
	Holds    bool   `json:"holds"`
}

// Run runs tests one after the other, each on a machine of its own, and calls
// done for each. The error is of a machine that failed, or of ctx.
func Run(ctx context.Context, set *rules.Set, tests []Test, begin Begin, done func(Result)) error {
	for i := range tests {
		if err := ctx.Err(); err != nil {
			return err
		}
		result, err := run(set, &tests[i], begin)
		if err != nil {
			return fmt.Errorf("%s: %w", tests[i].at, err)
		}
		done(result)
	}
	return nil
}

// runner is one test under way.
type runner struct {
	set       *rules.Set
	machine   Machine
	explainer Explainer
	clock     subject.Instant // the test's
	outcome   string          // of the newest event
	changes   []subject.Change
	result    Result
}

// errStopped ends a test that cannot go on; the failure is noted.
var errStopped = errors.New("the test cannot go on")

func run(set *rules.Set, t *Test, begin Begin) (Result, error) {
	began := time.Now()
	machine, explainer, err := begin(t.assumed)
	if err != nil {
		return Result{}, err
	}
	r := &runner{set: set, machine: machine, explainer: explainer, clock: t.start, result: Result{Test: t.Name, File: t.File, Line: t.at.Line()}}
	err = machine.Advance(t.start)
	for i := 0; i < len(t.steps) && err == nil; i++ {
		err = r.step(&t.steps[i])
	}
	if err != nil && !errors.Is(err, errStopped) {
		return Result{}, err
	}
	if !r.result.Failed() {
		r.result.Notes = nil
	}
	r.result.Took = time.Since(began)
	return r.result, nil
}

func (r *runner) step(s *step) error {
	switch {
	case s.record != nil:
		return r.apply(s)
	case s.advance != nil:
		to := s.advance.from(r.clock)
		if to < r.clock {
			return r.stop(s, "the clock stands at %s and does not go back to %s", r.clock, to)
		}
		r.clock = to
		return nil
	}
	return r.expect(s.expect)
}

// stop notes a step that could not be taken.
func (r *runner) stop(s *step, format string, args ...any) error {
	r.result.Failures = append(r.result.Failures, Failure{Place: s.at.String(), What: fmt.Sprintf(format, args...)})
	return errStopped
}

func (r *runner) apply(s *step) error {
	rec := s.record
	at := rec.at.from(r.clock)
	if !rec.written {
		rec.members[rec.stamp] = at.String()
	}
	text, err := json.Marshal(rec.members)
	if err != nil {
		return err
	}
	before := r.machine.Clock()
	did, err := r.machine.Step(Record{JSON: text, Line: s.at.Line(), Input: rec.input, Arrival: at})
	if err != nil {
		return err
	}
	if did.Problem != "" {
		return r.stop(s, "the record is not taken as written: %s", did.Problem)
	}
	if after := r.machine.Clock(); after > before {
		r.clock = max(r.clock, after)
	}
	if did.Event {
		r.outcome = did.Outcome.String()
		r.note(s, did.Outcome)
	}
	return nil
}

// note says of an event that had no effect why.
func (r *runner) note(s *step, outcome subject.Outcome) {
	switch outcome {
	case subject.Admitted, subject.OutcomeLateCorrected, subject.OutcomeLateNoEffect:
		return
	}
	what := "the event was not admitted: " + outcome.String()
	if outcome == subject.OutcomeUnused {
		what = "no rule reads one of these traits"
		if name := s.record.event; name != "" {
			what = "no rule reads events named '" + name + "'" + rules.Hint(name, r.set.EventNames())
		}
	}
	r.result.Notes = append(r.result.Notes, s.at.String()+": "+what)
}

// expect lets everything happen that is due at the test's clock, and compares.
func (r *runner) expect(e *expectation) error {
	if err := r.machine.Advance(r.clock + 1); err != nil {
		return err
	}
	r.changes = r.machine.Changes()
	members := r.members()
	for _, set := range e.members {
		r.compareMembers(set, members)
	}
	for _, set := range e.notMembers {
		r.compareNotMembers(set, members)
	}
	for _, set := range e.segments {
		r.compareSegments(set, members)
	}
	if e.hasChanges {
		r.compareChanges(e)
	}
	if e.outcome != "" {
		r.fail(e.outcomeAt, "the outcome of the newest event", []Row{sameRow(e.outcome, r.outcome)}, nil)
	}
	for _, x := range e.explain {
		if err := r.compareExplanation(x); err != nil {
			return err
		}
	}
	return nil
}

func (r *runner) members() map[Member]bool {
	all := make(map[Member]bool)
	for _, m := range r.machine.Members() {
		all[m] = true
	}
	return all
}

// fail notes an expectation if one of its rows does not hold. about are the
// memberships that are explained.
func (r *runner) fail(at rules.Place, what string, rows []Row, about []Member) {
	if !slices.ContainsFunc(rows, func(row Row) bool { return !row.Holds }) {
		return
	}
	f := Failure{Place: at.String(), What: fmt.Sprintf("%s, at %s", what, r.clock), Rows: rows}
	f.Explanations = r.explanations(about)
	r.result.Failures = append(r.result.Failures, f)
}

// maxExplained bounds the explanations of one failure.
const maxExplained = 3

func (r *runner) explanations(about []Member) (texts []string) {
	if r.explainer == nil {
		return nil
	}
	seen := map[Member]bool{}
	for _, m := range about {
		if seen[m] || len(texts) == maxExplained {
			continue
		}
		seen[m] = true
		if _, text, err := r.explainer.Explain(m.Subject, m.Segment, r.clock); err == nil {
			texts = append(texts, fmt.Sprintf("%s in %s:\n%s", idText(m.Subject), m.Segment, text))
		}
	}
	return texts
}

// idText is an id in reports; an anonymous one says so.
func idText(id subject.ID) string {
	if id.Type == subject.AnonymousID {
		return id.Value + " (anonymous)"
	}
	return id.Value
}
