// Package ruletest is the format of rule tests, *_test.yaml beside the rules:
// what happens to some subjects step by step, and what must follow. It reads
// test files, runs them on a Machine that its caller provides, and reports what
// differs. It applies nothing itself, so a test sees what replay and the
// processor would do. README.md of package rules is the format's reference.
package ruletest

import (
	"time"

	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state/subject"
)

// Machine is the subjects of one rule set under a clock: what a test drives.
// It is used by one goroutine.
type Machine interface {
	// Step decodes a record, moves the clock to its timestamp and applies it.
	Step(Record) (Step, error)
	// Advance moves the clock on, never back, and fires every timer strictly before it.
	Advance(to subject.Instant) error
	// Clock is the newest instant reached.
	Clock() subject.Instant
	// Changes returns what was published since the last call, in order.
	Changes() []subject.Change
	// Members returns all memberships as they stand.
	Members() []Member
}

// Record is one record to apply.
type Record struct {
	JSON  []byte // as a file for replay holds it
	Line  int    // where it stands
	Input string // the input topic as whose record it is read; "": a record in segmentd's own shapes
	// Arrival is the instant of a record of an Input that has no date.
	Arrival subject.Instant
}

// Step is what became of one record.
type Step struct {
	Problem string // why it was not taken, or not understood; "": nothing is wrong
	Event   bool   // it was an event, and Outcome what became of it
	Outcome subject.Outcome
}

// Member is one membership.
type Member struct {
	Segment string
	Subject subject.ID
}

// Explainer explains the answers of a Machine.
type Explainer interface {
	// Explain says why a subject is or is not in a segment as of an instant: a
	// document whose JSON has "member", "since" and "nextChange" ({"at","change"}
	// or null), and the same in words.
	Explain(id subject.ID, segment string, at subject.Instant) (document any, text string, err error)
}

// Begin returns a machine without any subject, under the rules the tests were
// read for, and what explains its answers. assumed are purposes to which every
// subject counts as having consented. A nil Explainer: there are no explanations.
type Begin func(assumed []string) (Machine, Explainer, error)

// DefaultStart is the instant at which a test begins that names none.
const DefaultStart = "2026-01-01T00:00:00Z"

// Test is one test as written.
type Test struct {
	Name    string
	File    string // as problems show it
	at      rules.Place
	start   subject.Instant
	assumed []string
	steps   []step
}

// step is one thing that happens or is expected: exactly one of the last three is set.
type step struct {
	at      rules.Place
	record  *record
	advance *moment
	expect  *expectation
}

// record is an input record as written, of which only the timestamp may be missing.
type record struct {
	members map[string]any
	stamp   string // the member for the timestamp
	written bool   // the record has its timestamp
	at      moment // else: when it happens
	event   string // the name of a track call
	input   string // the topic as whose record it is read; "": none
}

// moment is an instant, or a distance from the test's clock.
type moment struct {
	at       subject.Instant
	by       time.Duration
	absolute bool
}

// from is the moment as an instant, given the test's clock.
func (m moment) from(clock subject.Instant) subject.Instant {
	if m.absolute {
		return m.at
	}
	return clock.Add(m.by)
}

// expectation is what must be so at the test's clock.
type expectation struct {
	members    []memberSet
	notMembers []memberSet
	segments   []segmentSet
	changes    []changeRow
	hasChanges bool // an empty list expects none
	outcome    string
	outcomeAt  rules.Place
	explain    []explained
	changesAt  rules.Place
}

// memberSet is the subjects said to be in a segment, or not.
type memberSet struct {
	at       rules.Place
	segment  string
	subjects []subject.ID
}

// segmentSet is the segments that a subject must be in, and no others.
type segmentSet struct {
	at       rules.Place
	subject  subject.ID
	segments []string
}

// changeRow is an expected change; what is empty is not compared.
type changeRow struct {
	at       rules.Place
	time     string
	subject  subject.ID
	segment  string
	kind     string
	reason   string
	causedBy string
}

// explained is what an explanation must say; what is not set is not compared.
type explained struct {
	at       rules.Place
	subject  subject.ID
	segment  string
	member   *bool
	since    string
	next     *nextChange
	contains []string
}

// nextChange is when an answer will change by time alone; empty: not at all.
type nextChange struct{ at, change string }
