// Package rules is the rule language: rule files are loaded, checked and compiled
// once into an immutable Set of segments, whose answers are read from shared
// incremental leaves with bounded evidence. The language is CEL, parsed and
// type-checked by cel-go, with sources of events, windows and aggregates of our
// own; README.md beside this file is its reference. A rule never fails while it
// runs. No I/O but the reading of rule files; no clock.
package rules

import (
	"time"

	"github.com/segmentd/segmentd/state/subject"
)

// LawfulBasis is the ground on which a purpose may process (GDPR article 6(1), 9(2)(a)).
type LawfulBasis uint8

// The lawful bases.
const (
	Consent LawfulBasis = iota
	ExplicitConsent
	Contract
	LegalObligation
	VitalInterests
	PublicTask
	LegitimateInterests
)

var basisNames = [...]string{"consent", "explicit_consent", "contract", "legal_obligation", "vital_interests", "public_task", "legitimate_interests"}

// String is the basis as rule files write it.
func (b LawfulBasis) String() string { return basisNames[b] }

// NeedsConsent reports whether the basis holds only by a decision of the subject.
func (b LawfulBasis) NeedsConsent() bool { return b <= ExplicitConsent }

// EndedByObjection reports whether an objection ends the basis (GDPR article
// 21(1); direct marketing is ended whatever the basis, article 21(2)).
func (b LawfulBasis) EndedByObjection() bool { return b == PublicTask || b == LegitimateInterests }

// Recipient is somebody to whom memberships are disclosed (GDPR article 4(9)).
type Recipient struct {
	Name    string `json:"name"`
	Contact string `json:"contact,omitempty"`
}

// Purpose is a declared purpose of processing.
type Purpose struct {
	Key                 string
	Description         string
	Basis               LawfulBasis
	DirectMarketing     bool
	ConsentExpiresAfter time.Duration // 0: decisions do not expire by age
	Retention           time.Duration
	MinAge              int    // years a subject must be old; 0: no limit
	BirthdateTrait      string // top-level trait with the birthdate, where MinAge is set
	Output              string // "" or the word in <group>-<output>-changes and -members

	NoticeVersion       string      // of the notice that consents given now should refer to; "": not said
	OldestNoticeVersion string      // consents that refer to an earlier one (by string comparison), or to none, no longer count; "": all do
	Recipients          []Recipient // who is given the memberships, as declared; nil: not said
	DataUse             string      // fideslang's data use; "": not said
	LegitimateInterest  string      // the interest pursued, where that is the basis (GDPR article 13(1)(d))
	LegalReference      string      // the law behind LegalObligation and PublicTask (GDPR article 6(3))
	SignificantEffect   bool        // membership alone decides what affects people significantly (GDPR article 22)
	Safeguards          string      // against that (GDPR article 22(3)); never empty where SignificantEffect is set

	Segments []int      // indices into Set.Segments, in decision order
	Traits   *FieldNode // what this purpose's rules read of traits: children by top-level key; nil: nothing
}

// Set is a compiled rule set: immutable, safe for concurrent use, swapped whole.
//
// INVARIANT: Purposes is sorted by key. Segments is in decision order:
// topological by segment() references, the smallest key first among those that
// are ready (Kahn), so dependencies always come before their dependents.
type Set struct {
	Revision int64
	Hash     string // hex SHA-256 of the canonical rule set with its revision (files' names do not matter, their meaning does)
	Purposes []Purpose
	Segments []Segment
	Leaves   []Leaf
	Fields   Fields

	index     index
	uses      []use // what CompareSample compares
	lists     map[string]*list
	catalogue []dataField
	sources   map[string][]byte // the files it was loaded from, by slash-separated name
}

// Segment is one compiled rule.
type Segment struct {
	Key         string
	ID          uint32 // 32-bit hash of Key, unique in the set: what records store
	Name        string
	Description string
	Purpose     int // index into Set.Purposes
	Infers      []string
	When        string // source text
	Reads       Reads
	Dependents  []int // segments that name this one with segment()
	Leaves      []int // that it reads, indices into Set.Leaves

	StayWhile string        // source text; "": none
	MinDwell  time.Duration // once in, stay at least so long
	Cooldown  time.Duration // once out, stay out at least so long

	when    truthFn
	stay    truthFn  // nil: none
	turns   []nextFn // when its parts may change
	marks   []mark   // of conditions whose answers are remembered; inner ones first
	cooling mark     // where Cooldown is set
	meaning string   // canonical text of all that decides

	whenShown, stayShown *outline // of when and stay_while, for Explain
}

// Meaning is the canonical text of all that decides who is in the segment: lets are
// written out, and neither white space nor the names of lets matter.
func (s *Segment) Meaning() string { return s.meaning }

// View is what a rule may see: one subject's state for one purpose at one
// instant. A caller owns and reuses it; rules keep nothing of it.
type View struct {
	Subject subject.ID
	Purpose *subject.Purpose
	At      subject.Instant
	// KeepAged widens the retention bound by the one instant At−retention, so
	// that evidence which leaves at At for retention alone still counts: an exit
	// that vanishes under it has the reason "retention".
	KeepAged bool
	// Immediate says that an exit must not wait for MinDwell.
	Immediate bool

	// Scratch of the evaluator, so that evaluation need not allocate.
	scratch scratch
}

// Begin forgets what the pass before has changed. To be called before each pass
// over a subject's segments.
func (v *View) Begin() { v.scratch.former = v.scratch.former[:0] }

// Remember brings what the segment remembers of answers given (held) to the
// answers at v.At, and reports whether that changed anything. To be called once
// a pass, before Answer.
func (s *Segment) Remember(v *View) (changed bool) {
	for _, m := range s.marks {
		changed = m.update(v) || changed
	}
	return changed
}

// Answer decides the segment at v.At, given whether the subject is in it and
// since when (v.Purpose.Members, which segment() reads too). It never fails and
// never panics (RULES.md, Total semantics).
func (s *Segment) Answer(v *View) bool {
	if !s.Sticky() {
		return s.when(v)
	}
	since, in := v.Purpose.Member(s.ID)
	switch {
	case in:
		return s.when(v) || s.stay != nil && s.stay(v) || !v.Immediate && v.At < since.Add(s.MinDwell)
	case s.Cooldown > 0:
		if left, ok := s.cooling.at(v.Purpose); ok && v.At < left.Add(s.Cooldown) {
			return false
		}
	}
	return s.when(v)
}

// Left notes that the subject leaves or enters the segment at v.At, for its
// cooldown; an exit that is immediate begins none.
func (s *Segment) Left(v *View, exit bool) {
	switch {
	case s.Cooldown == 0:
	case exit && !v.Immediate:
		s.cooling.set(v.Purpose, v.At)
	default:
		s.cooling.clear(v.Purpose)
	}
}

// Adopt lets the segment's cooldown run as it does in another state of the same
// purpose.
func (s *Segment) Adopt(p, from *subject.Purpose) {
	if s.Cooldown == 0 {
		return
	}
	if left, ok := s.cooling.at(from); ok {
		s.cooling.set(p, left)
	} else {
		s.cooling.clear(p)
	}
}

// Next returns the earliest instant later than v.At at which the answer may
// change with no further input; subject.Never if there is none. It may be
// earlier than the true flip (the caller then asks again), never later.
func (s *Segment) Next(v *View) subject.Instant {
	next := subject.Never
	for _, turn := range s.turns {
		next = min(next, turn(v))
	}
	if s.MinDwell > 0 {
		if since, in := v.Purpose.Member(s.ID); in && since.Add(s.MinDwell) > v.At {
			next = min(next, since.Add(s.MinDwell))
		}
	}
	if s.Cooldown > 0 {
		if left, ok := s.cooling.at(v.Purpose); ok && left.Add(s.Cooldown) > v.At {
			next = min(next, left.Add(s.Cooldown))
		}
	}
	return next
}

// Sticky reports whether the answer depends on whether the subject is in the
// segment: stay_while, min_dwell, cooldown.
func (s *Segment) Sticky() bool { return s.stay != nil || s.MinDwell > 0 || s.Cooldown > 0 }

// Stateful reports whether the answer depends on answers given before: held,
// stay_while, min_dwell, cooldown. Then it cannot be decided from what is kept of
// events alone.
func (s *Segment) Stateful() bool {
	return len(s.marks) > 0 || s.Sticky()
}

// Timed reports whether the answer can change with no further input at all.
func (s *Segment) Timed() bool { return len(s.turns) > 0 || s.MinDwell > 0 || s.Cooldown > 0 }

// Leaf is one incremental quantity: a source with its predicate and window, an
// aggregate and its argument, within one purpose. Segments of the purpose share it.
type Leaf struct {
	Key      uint32 // 32-bit hash of the canonical text of its meaning, unique in the set
	Text     string // that text
	Purpose  int
	Segments []int  // that read it
	Bound    string // what it keeps, in words, for check --verbose

	program *program
}

// Insert admits ev, whose name and purpose concern the leaf, to the evidence
// kept in p, as decided at the instant at (never before it was called with a
// later one). touched reports whether it is one of the leaf's events: its
// predicate holds and its window has not passed. changed reports whether the
// evidence changed: a value may be missing, or newer evidence may decide.
func (l *Leaf) Insert(p *subject.Purpose, ev *subject.Event, at subject.Instant, v *View) (touched, changed bool) {
	return l.program.insert(p, ev, at, v)
}

// Remembers reports whether the leaf is a remembered instant (held, cooldown),
// which answers change, not events.
func (l *Leaf) Remembers() bool { return l.program.kind == markLeaf }

// MaxEntries bounds the entries that the leaf may keep whatever their size, since
// reading it costs the square of their number; 0: no such bound.
func (l *Leaf) MaxEntries() int {
	if q := l.program.seq; q != nil && q.tries() {
		return maxPaired
	}
	return 0
}

// Prune drops from p the evidence that can no longer matter at the instant at or later.
func (l *Leaf) Prune(p *subject.Purpose, at subject.Instant) {
	state := p.Leaf(l.Key)
	if state == nil {
		return
	}
	if l.program.prune(state, at); len(state.Times) == 0 {
		p.DropLeaf(l.Key)
	}
}
