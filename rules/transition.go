package rules

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/segmentd/segmentd/state/subject"
)

// Name is what one segment's number in records means.
type Name struct {
	ID      uint32 `json:"id"`
	Key     string `json:"key"`
	Purpose string `json:"purpose"`
	Output  string `json:"output,omitempty"` // of the purpose
}

// Names lists the set's segments in decision order.
func (s *Set) Names() []Name {
	names := make([]Name, len(s.Segments))
	for i := range s.Segments {
		p := &s.Purposes[s.Segments[i].Purpose]
		names[i] = Name{s.Segments[i].ID, s.Segments[i].Key, p.Key, p.Output}
	}
	return names
}

// LeafDigest tells apart what two programs keep for rules of one meaning: the
// digest of all leaves' texts.
func (s *Set) LeafDigest() string {
	h := sha256.New()
	for i := range s.Leaves {
		fmt.Fprintf(h, "%s\n", s.Leaves[i].Text)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// Treatment is what a change of the rule set does with one segment.
type Treatment uint8

// The treatments.
const (
	Unchanged   Treatment = iota // answers stay as they are
	ListChanged                  // it differs by members of its lists only
	Decided                      // new or changed, and all it reads is kept: decided anew
	Filled                       // new or changed, and something it reads must be filled from the events' topics first
)

// Transition is how records made under one rule set are brought under another:
// what is kept of them, what is missing, and what becomes of each segment.
// Immutable, safe for concurrent use.
type Transition struct {
	From     *Set // nil: it cannot be told any more, so that nothing that was kept is reused
	To       *Set
	Removed  []Name      // segments that To has not, or not for that purpose and output; in decision order
	Segments []Treatment // by index into To.Segments
	Reread   []bool      // by index into To.Purposes: its decisions are read again, and all evidence is missing

	names   map[string]Name     // From's segments by key
	leaves  []supply            // by index into To.Leaves
	targets map[uint32][]*Leaf  // leaves of To by the key of the leaf of From that they are made of
	traits  []map[string]bool   // by index into To.Purposes: top-level traits of which something is missing
	lists   map[int][]listTurns // of segments that are ListChanged
}

// supply is where the evidence of a leaf comes from.
type supply uint8

const (
	notKept     supply = iota // nowhere
	convertible               // from another leaf
	sameLeaf                  // it is the same leaf
)

// listTurns are the former and the present members of a list.
type listTurns struct{ was, is map[string]struct{} }

// Compare says how to get from one rule set to another. from is nil where the
// former set is not known; its segments' names then tell what memberships are.
func Compare(from *Set, names []Name, to *Set) *Transition {
	if from != nil {
		names = from.Names()
	}
	t := &Transition{From: from, To: to, Segments: make([]Treatment, len(to.Segments)), Reread: make([]bool, len(to.Purposes)),
		names: make(map[string]Name, len(names)), traits: make([]map[string]bool, len(to.Purposes)), lists: map[int][]listTurns{}}
	for _, n := range names {
		t.names[n.Key] = n
	}
	for i := range to.Purposes {
		t.Reread[i] = !samePolicy(from, &to.Purposes[i])
		t.traits[i] = t.missingTraits(i)
	}
	t.supplyLeaves()
	t.Removed = slices.DeleteFunc(slices.Clone(names), to.has)
	t.treat()
	return t
}

func (s *Set) has(n Name) bool {
	i, ok := s.SegmentByKey(n.Key)
	if !ok {
		return false
	}
	p := &s.Purposes[s.Segments[i].Purpose]
	return p.Key == n.Purpose && p.Output == n.Output
}

// samePolicy reports whether a purpose asks of decisions what it asked before.
// All that is not named here counts as policy, so that none is forgotten.
func samePolicy(from *Set, p *Purpose) bool {
	if from == nil {
		return false
	}
	i, ok := from.PurposeIndex(p.Key)
	if !ok {
		return false
	}
	policy := func(p Purpose) Purpose {
		p.Description, p.Retention, p.Output, p.Segments, p.Traits = "", 0, "", nil, nil
		p.NoticeVersion, p.Recipients, p.DataUse = "", nil, ""
		p.LegitimateInterest, p.LegalReference, p.SignificantEffect, p.Safeguards = "", "", false, ""
		return p
	}
	return reflect.DeepEqual(policy(from.Purposes[i]), policy(*p))
}

// formerPurpose returns a purpose of To as From has it, nil if it has it not or
// with another policy.
func (t *Transition) formerPurpose(purpose int) *Purpose {
	if t.Reread[purpose] {
		return nil
	}
	i, _ := t.From.PurposeIndex(t.To.Purposes[purpose].Key)
	return &t.From.Purposes[i]
}

// missingTraits returns the top-level traits of which To reads what From did not.
func (t *Transition) missingTraits(purpose int) map[string]bool {
	missing := map[string]bool{}
	reads := t.To.Purposes[purpose].Traits
	if reads == nil {
		return missing
	}
	former := t.formerPurpose(purpose)
	for _, c := range reads.Children {
		if former == nil || !former.Traits.Child(c.Key).covers(c) {
			missing[c.Key] = true
		}
	}
	return missing
}

// covers reports whether what was kept by n is enough for m.
func (n *FieldNode) covers(m *FieldNode) bool {
	switch {
	case n == nil:
		return false
	case n.Whole:
		return true
	case m.Whole:
		return false
	}
	return !slices.ContainsFunc(m.Children, func(c *FieldNode) bool { return !n.Child(c.Key).covers(c) })
}

// changedFields returns the paths of event fields whose declared minimum is
// another now, and of all that holds them: their values are not what they were.
func (t *Transition) changedFields() (paths []string) {
	if t.From == nil {
		return nil
	}
	was, is := minimums(t.From), minimums(t.To)
	for path, min := range is {
		if was[path] != min {
			paths = append(paths, path)
		}
		delete(was, path)
	}
	for path := range was {
		paths = append(paths, path)
	}
	for _, path := range slices.Clone(paths) {
		for at := strings.LastIndexByte(path, '.'); at > 0; at = strings.LastIndexByte(path[:at], '.') {
			paths = append(paths, path[:at])
		}
	}
	return slices.DeleteFunc(paths, func(p string) bool { return !strings.Contains(p, ".") })
}

// minimums returns the declared minimums of the fields that are read.
func minimums(s *Set) map[string]string {
	all := map[string]string{}
	for i := range s.Fields.Slots {
		if f := &s.Fields.Slots[i]; f.Min != nil {
			all[f.Path] = f.Min.String()
		}
	}
	return all
}

// supplyLeaves finds what every leaf of To can be made of.
func (t *Transition) supplyLeaves() {
	t.leaves, t.targets = make([]supply, len(t.To.Leaves)), map[uint32][]*Leaf{}
	if t.From == nil {
		return
	}
	bySource := map[string][]*Leaf{}
	for i := range t.From.Leaves {
		l := &t.From.Leaves[i]
		bySource[l.program.source] = append(bySource[l.program.source], l)
	}
	changed := t.changedFields()
	for i := range t.To.Leaves {
		l := &t.To.Leaves[i]
		if t.Reread[l.Purpose] || slices.ContainsFunc(changed, func(path string) bool { return strings.Contains(l.Text, path) }) {
			continue
		}
		var old *Leaf
		if old, t.leaves[i] = t.supplyOf(l, bySource[l.program.source]); old != nil {
			t.targets[old.Key] = append(t.targets[old.Key], l)
		}
	}
}

// supplyOf finds what a leaf can be made of among those of one source.
func (t *Transition) supplyOf(l *Leaf, candidates []*Leaf) (*Leaf, supply) {
	if old := t.From.LeafByKey(l.Key); old != nil && old.Text == l.Text {
		return old, sameLeaf
	}
	key := t.To.Purposes[l.Purpose].Key
	for _, old := range candidates {
		if t.From.Purposes[old.Purpose].Key == key && old.program.serves(l.program) {
			return old, convertible
		}
	}
	return nil, notKept
}

// treat decides what becomes of every segment of To. Those that a segment
// names come before it. One that remembers answers is as if changed where
// another that it depends on is: its history would have been another.
func (t *Transition) treat() {
	affected := make([]bool, len(t.To.Segments)) // by a change of its own, or of one it depends on
	for i := range t.To.Segments {
		s := &t.To.Segments[i]
		changed := t.isChanged(i) || affected[i] && s.Stateful()
		affected[i] = affected[i] || changed
		for _, d := range s.Dependents {
			affected[d] = affected[d] || affected[i]
		}
		switch {
		case !changed:
			if t.lists[i] = t.changedLists(s); len(t.lists[i]) > 0 {
				t.Segments[i] = ListChanged
			}
		case t.Segments[i] != Filled && !t.lacks(i):
			t.Segments[i] = Decided
		default:
			t.Segments[i] = Filled
			t.fillDependents(s)
		}
	}
}

// fillDependents lets segments that are decided anew wait for one that is filled.
func (t *Transition) fillDependents(s *Segment) {
	for _, d := range s.Dependents {
		if t.isChanged(d) {
			t.Segments[d] = Filled
		}
	}
}

// isChanged reports whether a segment is new or its answers may differ by more
// than members of lists.
func (t *Transition) isChanged(i int) bool {
	s := &t.To.Segments[i]
	p := &t.To.Purposes[s.Purpose]
	if t.Reread[s.Purpose] || t.names[s.Key] != (Name{s.ID, s.Key, p.Key, p.Output}) {
		return true
	}
	former, ok := t.From.SegmentByKey(s.Key)
	if !ok || t.From.Segments[former].meaning != s.meaning {
		return true
	}
	return slices.ContainsFunc(s.Leaves, func(l int) bool { return t.leaves[l] != sameLeaf })
}

// lacks reports whether a changed segment cannot be decided from what is kept.
func (t *Transition) lacks(i int) bool {
	s := &t.To.Segments[i]
	if s.Stateful() || slices.ContainsFunc(s.Leaves, t.MissingLeaf) {
		return true
	}
	// Whom such a purpose knows depends on who ever sent an event, or a birthdate.
	if p := &t.To.Purposes[s.Purpose]; t.Reread[s.Purpose] && (!p.Basis.NeedsConsent() || p.MinAge > 0) {
		return true
	}
	for key := range t.traits[s.Purpose] {
		if slices.Contains(t.To.TraitSegments(s.Purpose, key), i) {
			return true
		}
	}
	return false
}

// changedLists returns the lists of an otherwise unchanged segment whose members differ.
func (t *Transition) changedLists(s *Segment) (changed []listTurns) {
	for key, l := range t.To.lists {
		if !strings.Contains(s.meaning, "list("+strconv.Quote(key)+")") {
			continue
		}
		turns := listTurns{is: l.members}
		if former := t.From.lists[key]; former != nil {
			turns.was = former.members
		}
		if !maps.Equal(turns.was, turns.is) {
			changed = append(changed, turns)
		}
	}
	return changed
}

// ListChangedFor reports whether a segment that is ListChanged differs for a subject.
func (t *Transition) ListChangedFor(segment int, id subject.ID) bool {
	return slices.ContainsFunc(t.lists[segment], func(l listTurns) bool {
		_, was := l.was[id.Value]
		_, is := l.is[id.Value]
		return was != is
	})
}

// MissingLeaf reports whether a leaf, an index into To.Leaves, must be filled.
func (t *Transition) MissingLeaf(leaf int) bool { return t.leaves[leaf] == notKept }

// MissingTrait reports whether something of a top-level trait must be filled.
func (t *Transition) MissingTrait(purpose int, key string) bool { return t.traits[purpose][key] }

// Fills reports whether any segment must be filled.
func (t *Transition) Fills() bool { return slices.Contains(t.Segments, Filled) }

// Rereads reports whether decisions of some purpose must be read again.
func (t *Transition) Rereads() bool { return slices.Contains(t.Reread, true) }

// Touches reports whether records must be looked at at all. If not, the sets
// differ by words only.
func (t *Transition) Touches() bool {
	if t.From == nil || len(t.Removed) > 0 || t.Rereads() || len(t.From.Leaves) != len(t.To.Leaves) || len(t.From.Purposes) != len(t.To.Purposes) {
		return true
	}
	for i := range t.To.Purposes {
		if !reflect.DeepEqual(t.formerPurpose(i).Traits, t.To.Purposes[i].Traits) {
			return true
		}
	}
	return slices.ContainsFunc(t.Segments, func(s Treatment) bool { return s != Unchanged })
}

// Carry brings what is kept of a subject for a purpose of To from From to To, at
// an instant that is the subject's clock or later: leaves that are kept or can
// be converted, and traits cut down to what is read. The rest is dropped. It
// reports whether anything is another now.
func (t *Transition) Carry(purpose int, p *subject.Purpose, at subject.Instant) (changed bool) {
	if t.Reread[purpose] {
		changed = len(p.Leaves)+len(p.Traits) > 0
		p.Leaves, p.Traits = nil, nil
		return changed
	}
	changed = t.carryLeaves(p, at)
	return t.carryTraits(p, t.To.Purposes[purpose].Traits) || changed
}

func (t *Transition) carryLeaves(p *subject.Purpose, at subject.Instant) (changed bool) {
	former := p.Leaves
	p.Leaves = nil
	for i := range former {
		same := false
		for _, l := range t.targets[former[i].Key] {
			carried := former[i]
			if l.Key == former[i].Key {
				same = true
			} else if carried = l.program.convert(&former[i], at); len(carried.Times) == 0 {
				continue
			}
			*p.EnsureLeaf(l.Key) = carried
		}
		changed = changed || !same
	}
	return changed || len(p.Leaves) != len(former)
}

func (t *Transition) carryTraits(p *subject.Purpose, reads *FieldNode) (changed bool) {
	n := len(p.Traits)
	p.Traits = slices.DeleteFunc(p.Traits, func(tr subject.Trait) bool { return reads.Child(tr.Key) == nil })
	changed = len(p.Traits) != n
	for i := range p.Traits {
		pruned := reads.Child(p.Traits[i].Key).Prune(p.Traits[i].Value)
		changed = changed || !pruned.Equal(p.Traits[i].Value)
		p.Traits[i].Value = pruned
	}
	return changed
}

// Summary names what a transition changes, for people.
type Summary struct {
	Added   []string `json:"added"`
	Changed []string `json:"changed"`
	Removed []string `json:"removed"`
}

// Summary lists the segments' keys by what becomes of them, each sorted.
func (t *Transition) Summary() Summary {
	s := Summary{[]string{}, []string{}, []string{}}
	for i := range t.To.Segments {
		key := t.To.Segments[i].Key
		switch _, had := t.names[key]; {
		case !had:
			s.Added = append(s.Added, key)
		case t.Segments[i] != Unchanged:
			s.Changed = append(s.Changed, key)
		}
	}
	for _, n := range t.Removed {
		if _, stays := t.To.SegmentByKey(n.Key); !stays {
			s.Removed = append(s.Removed, n.Key)
		}
	}
	slices.Sort(s.Added)
	slices.Sort(s.Changed)
	slices.Sort(s.Removed)
	return s
}
