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

// Purpose is a declared purpose of processing.
type Purpose struct {
	Key                 string
	Description         string
	Basis               LawfulBasis
	DirectMarketing     bool
	ConsentExpiresAfter time.Duration // 0: decisions do not expire by age
	Retention           time.Duration
	Output              string     // "" or the word in <group>-<output>-changes and -members
	Segments            []int      // indices into Set.Segments, in decision order
	Traits              *FieldNode // what this purpose's rules read of traits: children by top-level key; nil: nothing
}

// Set is a compiled rule set: immutable, safe for concurrent use, swapped whole.
//
// INVARIANT: Purposes is sorted by key. Segments is in decision order:
// topological by segment() references, the smallest key first among those that
// are ready (Kahn), so dependencies always come before their dependents.
type Set struct {
	Revision int64
	Hash     string // hex SHA-256 of the canonical rule set (files' names do not matter, their meaning does)
	Purposes []Purpose
	Segments []Segment
	Leaves   []Leaf
	Fields   Fields

	index index
	uses  []use // what CompareSample compares
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
	Dependents  []int  // segments that name this one with segment()
	Leaves      []int  // that it reads, indices into Set.Leaves

	answer truthFn
	turns  []nextFn // when its parts may change
}

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

	// Scratch of the evaluator, so that evaluation need not allocate.
	scratch scratch
}

// Answer decides the rule at v.At. segment() reads v.Purpose.Members.
// It never fails and never panics (RULES.md, Total semantics).
func (s *Segment) Answer(v *View) bool { return s.answer(v) }

// Next returns the earliest instant later than v.At at which the answer may
// change with no further input; subject.Never if there is none. It may be
// earlier than the true flip (the caller then asks again), never later.
func (s *Segment) Next(v *View) subject.Instant {
	next := subject.Never
	for _, turn := range s.turns {
		next = min(next, turn(v))
	}
	return next
}

// Timed reports whether the answer can change with no further input at all.
func (s *Segment) Timed() bool { return len(s.turns) > 0 }

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
// later one). It reports whether the evidence changed: false if the predicate
// does not hold or the event can no longer matter.
func (l *Leaf) Insert(p *subject.Purpose, ev *subject.Event, at subject.Instant, v *View) bool {
	return l.program.insert(p, ev, at, v)
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
