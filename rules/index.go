package rules

import (
	"slices"

	"github.com/segmentd/segmentd/state/subject"
)

// index finds what an input concerns without looking at the rest.
type index struct {
	events   map[string][]purposeLeaves // by event name; purposes ascending
	segments map[uint32]int
	keys     map[string]int // segments by key
	leaves   map[uint32]int
	traits   []map[string][]int // by purpose: segments by top-level trait
}

// purposeLeaves are the leaves of one purpose that read one event name.
type purposeLeaves struct {
	purpose int
	always  []*Leaf  // those whose predicate implies no equality
	picked  []picked // one for each field that predicates compare
}

// picked are leaves whose predicate implies that a field is one of a few texts.
type picked struct {
	slot   int
	byText map[string][]*Leaf
}

// pick is an equality that a predicate implies: the slot's value is one of texts.
type pick struct {
	slot  int
	texts []string
}

// buildIndex fills s.index from the finished segments and leaves.
func (s *Set) buildIndex() {
	s.index = index{
		events:   make(map[string][]purposeLeaves),
		segments: make(map[uint32]int, len(s.Segments)),
		keys:     make(map[string]int, len(s.Segments)),
		leaves:   make(map[uint32]int, len(s.Leaves)),
		traits:   make([]map[string][]int, len(s.Purposes)),
	}
	for i := range s.Segments {
		s.index.segments[s.Segments[i].ID] = i
		s.index.keys[s.Segments[i].Key] = i
	}
	for i := range s.Leaves {
		s.index.leaves[s.Leaves[i].Key] = i
		s.indexLeaf(&s.Leaves[i])
	}
	for i := range s.index.traits {
		s.index.traits[i] = make(map[string][]int)
	}
}

// indexLeaf relies on leaves coming in the order of their purposes.
func (s *Set) indexLeaf(l *Leaf) {
	name := l.program.event
	groups := s.index.events[name]
	if n := len(groups); n == 0 || groups[n-1].purpose != l.Purpose {
		groups = append(groups, purposeLeaves{purpose: l.Purpose})
	}
	g := &groups[len(groups)-1]
	if p := l.program.pick; p != nil {
		g.pick(p, l)
	} else {
		g.always = append(g.always, l)
	}
	s.index.events[name] = groups
}

// read notes that a purpose reads an event name, though perhaps by no leaf.
func (x *index) read(name string, purpose int) {
	groups := x.events[name]
	at, found := slices.BinarySearchFunc(groups, purpose, func(g purposeLeaves, p int) int { return g.purpose - p })
	if !found {
		x.events[name] = slices.Insert(groups, at, purposeLeaves{purpose: purpose})
	}
}

func (g *purposeLeaves) pick(p *pick, l *Leaf) {
	i := slices.IndexFunc(g.picked, func(c picked) bool { return c.slot == p.slot })
	if i < 0 {
		i = len(g.picked)
		g.picked = append(g.picked, picked{slot: p.slot, byText: make(map[string][]*Leaf)})
	}
	for _, text := range p.texts {
		g.picked[i].byText[text] = append(g.picked[i].byText[text], l)
	}
}

// Reads reports whether some rule reads events of that name.
func (s *Set) Reads(name string) bool { return s.index.events[name] != nil }

// ReadFor reports whether some rule of a purpose (an index into Purposes) reads
// events of that name.
func (s *Set) ReadFor(purpose int, name string) bool {
	for i := range s.index.events[name] {
		if s.index.events[name][i].purpose == purpose {
			return true
		}
	}
	return false
}

// Touched appends to buf the leaves that an event can concern, all purposes'
// ascending, and returns it. Their Insert still evaluates the predicates.
func (s *Set) Touched(ev *subject.Event, buf []*Leaf) []*Leaf {
	groups := s.index.events[ev.Name]
	for i := range groups {
		buf = append(buf, groups[i].always...)
		for j := range groups[i].picked {
			p := &groups[i].picked[j]
			if p.slot < len(ev.Fields) && ev.Fields[p.slot].Kind() == subject.String {
				buf = append(buf, p.byText[ev.Fields[p.slot].Str()]...)
			}
		}
	}
	return buf
}

// TraitSegments returns the segments of a purpose that read a top-level trait,
// as ascending indices into Segments (shared; do not change).
func (s *Set) TraitSegments(purpose int, key string) []int { return s.index.traits[purpose][key] }

// SegmentByID returns the index of the segment with that ID.
func (s *Set) SegmentByID(id uint32) (int, bool) {
	i, ok := s.index.segments[id]
	return i, ok
}

// SegmentByKey returns the index of the segment with that key.
func (s *Set) SegmentByKey(key string) (int, bool) {
	i, ok := s.index.keys[key]
	return i, ok
}

// LeafByKey returns the leaf with that key, nil if there is none.
func (s *Set) LeafByKey(key uint32) *Leaf {
	if i, ok := s.index.leaves[key]; ok {
		return &s.Leaves[i]
	}
	return nil
}

// PurposeIndex returns the index of a purpose by its key.
func (s *Set) PurposeIndex(key string) (int, bool) {
	return slices.BinarySearchFunc(s.Purposes, key, func(p Purpose, key string) int {
		switch {
		case p.Key < key:
			return -1
		case p.Key > key:
			return 1
		}
		return 0
	})
}
