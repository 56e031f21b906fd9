package rules

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// compiler makes a Set of a checked rule set.
type compiler struct {
	set      *checked
	letIndex map[string]int
	fields   *fieldTable
	leaves   map[string]*leafDraft // by text
	leafKeys map[uint32]string     // texts by key
	problems []exprError
}

// ruleDraft is a segment under compilation.
type ruleDraft struct {
	segment int // index into checked.segments
	nodes   int
	when    node
	stay    node   // without a closure: none
	cooling uint32 // key of the leaf of the cooldown
	marks   []mark
	refs    map[string]bool // keys of segments it names
	leaves  map[*leafDraft]bool
	traits  map[string]bool  // top-level traits it reads
	names   map[pattern]bool // of events it names, also where the answer turned out not to depend on them
	fields  map[string]bool  // paths that it reads, likewise
	lists   map[string]bool  // keys of lists it names
	turns   []nextFn
	turning map[string]bool // what turns already has

	outliner  outliner
	whenShown *outline
	stayShown *outline
}

// leafDraft is a leaf under compilation.
type leafDraft struct {
	leaf  Leaf
	index int
}

// compileSet compiles what the front-end has checked. It never panics on a
// checked set: what it cannot compile is in the problems, and then the set is nil.
func compileSet(c *checked) (*Set, []exprError) {
	k := &compiler{
		set:      c,
		letIndex: make(map[string]int, len(c.lets)),
		fields:   newFieldTable(c),
		leaves:   make(map[string]*leafDraft),
		leafKeys: make(map[uint32]string),
	}
	for i, l := range c.lets {
		k.letIndex[l.name] = i
	}
	drafts := make([]*ruleDraft, len(c.segments))
	for i := range c.segments {
		drafts[i] = k.rule(i)
	}
	order := k.decisionOrder(drafts)
	if len(k.problems) > 0 {
		return nil, k.problems
	}
	return k.assemble(drafts, order)
}

func (k *compiler) rule(i int) *ruleDraft {
	r := &ruleDraft{
		segment: i,
		names:   make(map[pattern]bool), fields: make(map[string]bool), lists: make(map[string]bool),
		refs: make(map[string]bool), leaves: make(map[*leafDraft]bool), traits: make(map[string]bool), turning: make(map[string]bool),
	}
	s := &scope{compiler: k, rule: r, let: -1}
	c := &k.set.segments[i]
	r.when = s.compile(c.ast.Expr())
	r.whenShown = r.outliner.take()
	if c.stayAST != nil {
		s = &scope{compiler: k, rule: r, let: -1, stay: true}
		r.stay = s.compile(c.stayAST.Expr())
		r.stayShown = r.outliner.take()
	}
	if c.cooldown > 0 {
		if g := s.markLeaf("last exit of segment " + strconv.Quote(c.key)); g != nil {
			r.cooling = g.key
		}
	}
	if age := &k.set.purposes[c.purpose]; age.MinAge > 0 {
		k.fields.trait(c.purpose, []string{age.BirthdateTrait})
	}
	return r
}

// turn notes that the rule's answer may change when f says; key tells repeats.
func (r *ruleDraft) turn(key string, f nextFn) {
	reads := r.outliner.reads()
	reads.turns = append(reads.turns, f)
	if !r.turning[key] {
		r.turning[key] = true
		r.turns = append(r.turns, f)
	}
}

// decisionOrder returns the segments in decision order: Kahn's algorithm, the
// smallest key first among those that are ready.
func (k *compiler) decisionOrder(drafts []*ruleDraft) (order []int) {
	byKey := make(map[string]int, len(drafts))
	for i := range drafts {
		byKey[k.set.segments[i].key] = i
	}
	waits := make([]int, len(drafts))
	dependents := make([][]int, len(drafts))
	var ready []string
	for i, r := range drafts {
		for ref := range r.refs {
			if j, ok := byKey[ref]; ok {
				dependents[j] = append(dependents[j], i)
				waits[i]++
			}
		}
		if waits[i] == 0 {
			ready = append(ready, k.set.segments[i].key)
		}
	}
	slices.Sort(ready)
	for len(ready) > 0 {
		i := byKey[ready[0]]
		ready = ready[1:]
		order = append(order, i)
		for _, d := range dependents[i] {
			if waits[d]--; waits[d] == 0 {
				at, _ := slices.BinarySearch(ready, k.set.segments[d].key)
				ready = slices.Insert(ready, at, k.set.segments[d].key)
			}
		}
	}
	k.reportCycle(drafts, order)
	return order
}

func (k *compiler) reportCycle(drafts []*ruleDraft, order []int) {
	if len(order) == len(drafts) {
		return
	}
	for i := range drafts {
		if !slices.Contains(order, i) {
			s := &scope{compiler: k, rule: drafts[i], let: -1}
			s.fail(k.set.segments[i].ast.Expr(), fmt.Sprintf("segment %q depends on itself through segment()", k.set.segments[i].key))
			return
		}
	}
}

// assemble makes the set of compiled rules.
func (k *compiler) assemble(drafts []*ruleDraft, order []int) (*Set, []exprError) {
	s := &Set{Revision: k.set.revision, Purposes: slices.Clone(k.set.purposes), Fields: k.fields.fields, lists: k.set.lists, catalogue: k.set.fields}
	k.assembleLeaves(s)
	positions := make(map[string]int, len(order))
	for at, i := range order {
		positions[k.set.segments[i].key] = at
		k.assembleSegment(s, drafts[i])
	}
	for i := range s.Purposes {
		s.Purposes[i].Traits = k.fields.traits[i]
	}
	s.buildIndex()
	for at, i := range order {
		for ref := range drafts[i].refs {
			to := &s.Segments[positions[ref]]
			to.Dependents = append(to.Dependents, at)
		}
		for name := range drafts[i].names {
			s.index.read(name, s.Segments[at].Purpose)
		}
		for trait := range drafts[i].traits {
			by := s.index.traits[s.Segments[at].Purpose]
			by[trait] = append(by[trait], at)
		}
	}
	if len(s.index.segments) != len(s.Segments) {
		return nil, k.collidingSegments()
	}
	s.Hash = k.hash(drafts)
	return s, nil
}

// assembleLeaves puts the leaves in the order of purpose and text.
func (k *compiler) assembleLeaves(s *Set) {
	drafts := slices.SortedFunc(maps.Values(k.leaves), func(a, b *leafDraft) int {
		if a.leaf.Purpose != b.leaf.Purpose {
			return a.leaf.Purpose - b.leaf.Purpose
		}
		return strings.Compare(a.leaf.Text, b.leaf.Text)
	})
	s.Leaves = make([]Leaf, len(drafts))
	for i, d := range drafts {
		d.index = i
		s.Leaves[i] = d.leaf
	}
}

// assembleSegment appends the next segment in decision order.
func (k *compiler) assembleSegment(s *Set, r *ruleDraft) {
	c := &k.set.segments[r.segment]
	at := len(s.Segments)
	seg := Segment{
		Key: c.key, ID: hash32(c.key), Name: c.name, Description: c.description, Purpose: c.purpose, Infers: c.infers, When: c.when,
		StayWhile: c.stayWhile, MinDwell: c.minDwell, Cooldown: c.cooldown,
		when: r.when.truth, stay: r.stay.truth, turns: r.turns, marks: r.marks, cooling: mark{key: r.cooling}, meaning: r.meaning(c),
		whenShown: r.whenShown, stayShown: r.stayShown, Reads: r.allReads(),
	}
	for d := range r.leaves {
		seg.Leaves = append(seg.Leaves, d.index)
		s.Leaves[d.index].Segments = append(s.Leaves[d.index].Segments, at)
	}
	slices.Sort(seg.Leaves)
	s.Segments = append(s.Segments, seg)
	s.Purposes[c.purpose].Segments = append(s.Purposes[c.purpose].Segments, at)
}

// meaning is the canonical text of all that decides a segment's answer.
func (r *ruleDraft) meaning(c *checkedSegment) string {
	return fmt.Sprintf("%s stay_while %s min_dwell %d cooldown %d", r.when.text, r.stay.text, c.minDwell, c.cooldown)
}

// collidingSegments names segments whose keys have one 32-bit hash.
func (k *compiler) collidingSegments() (problems []exprError) {
	first := make(map[uint32]string)
	for i := range k.set.segments {
		c := &k.set.segments[i]
		other, taken := first[hash32(c.key)]
		if !taken {
			first[hash32(c.key)] = c.key
			continue
		}
		problems = append(problems, exprError{exprPlace{segment: i, let: -1, exprID: c.ast.Expr().ID()},
			fmt.Sprintf("the keys %q and %q have the same 32-bit hash, by which members are stored: rename one", other, c.key)})
	}
	return problems
}

// hash32 is the first 32 bits of SHA-256: what records store instead of a name.
func hash32(text string) uint32 {
	sum := sha256.Sum256([]byte(text))
	return binary.BigEndian.Uint32(sum[:])
}
