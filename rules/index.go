package rules

import (
	"fmt"
	"slices"

	"github.com/segmentd/segmentd/state/subject"
)

// index finds what an input concerns without looking at the rest.
type index struct {
	events     nameTable // by event name
	beginnings nameTable // by the beginning of event names
	lengths    []int     // the different lengths of beginnings
	segments   map[uint32]int
	keys       map[string]int // segments by key
	leaves     map[uint32]int
	traits     []map[string][]int // by purpose: segments by top-level trait
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
		events:     make(nameTable),
		beginnings: make(nameTable),
		segments:   make(map[uint32]int, len(s.Segments)),
		keys:       make(map[string]int, len(s.Segments)),
		leaves:     make(map[uint32]int, len(s.Leaves)),
		traits:     make([]map[string][]int, len(s.Purposes)),
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
	for _, p := range l.program.patterns() {
		s.index.read(p, l.Purpose).add(l)
	}
}

// patterns are the different names of events that concern a leaf.
func (g *program) patterns() []pattern {
	if g.kind == markLeaf {
		return nil
	}
	if g.seq == nil {
		return []pattern{g.event}
	}
	var all []pattern
	for i := range g.seq.steps {
		if p := g.seq.steps[i].event; !slices.Contains(all, p) {
			all = append(all, p)
		}
	}
	return all
}

// table is where a pattern is looked up.
func (x *index) table(p pattern) nameTable {
	if p.prefix {
		return x.beginnings
	}
	return x.events
}

// nameTable are leaves by a name, or beginning, of events; purposes ascending.
type nameTable map[string][]*purposeLeaves

// group returns the leaves of a purpose, added if there are none.
func (t nameTable) group(name string, purpose int) *purposeLeaves {
	at, found := slices.BinarySearchFunc(t[name], purpose, func(g *purposeLeaves, p int) int { return g.purpose - p })
	if !found {
		t[name] = slices.Insert(t[name], at, &purposeLeaves{purpose: purpose})
	}
	return t[name][at]
}

func (g *purposeLeaves) add(l *Leaf) {
	if p := l.program.pick; p != nil {
		g.pick(p, l)
	} else {
		g.always = append(g.always, l)
	}
}

// read notes that a purpose reads events, though perhaps by no leaf, and returns
// the leaves that do.
func (x *index) read(p pattern, purpose int) *purposeLeaves {
	if p.prefix && !slices.Contains(x.lengths, len(p.text)) {
		x.lengths = append(x.lengths, len(p.text))
		slices.Sort(x.lengths)
	}
	return x.table(p).group(p.text, purpose)
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
func (s *Set) Reads(name string) bool {
	if s.index.events[name] != nil {
		return true
	}
	for _, n := range s.index.lengths {
		if n <= len(name) && s.index.beginnings[name[:n]] != nil {
			return true
		}
	}
	return false
}

// ReadFor reports whether some rule of a purpose (an index into Purposes) reads
// events of that name.
func (s *Set) ReadFor(purpose int, name string) bool {
	if hasPurpose(s.index.events[name], purpose) {
		return true
	}
	for _, n := range s.index.lengths {
		if n <= len(name) && hasPurpose(s.index.beginnings[name[:n]], purpose) {
			return true
		}
	}
	return false
}

func hasPurpose(groups []*purposeLeaves, purpose int) bool {
	for _, g := range groups {
		if g.purpose == purpose {
			return true
		}
	}
	return false
}

// Touched appends to buf the leaves that an event can concern, each once, and
// returns it. Their Insert still evaluates the predicates.
func (s *Set) Touched(ev *subject.Event, buf []*Leaf) []*Leaf {
	buf = touched(s.index.events[ev.Name], ev, buf)
	for _, n := range s.index.lengths {
		if n <= len(ev.Name) {
			buf = touched(s.index.beginnings[ev.Name[:n]], ev, buf)
		}
	}
	return buf
}

func touched(groups []*purposeLeaves, ev *subject.Event, buf []*Leaf) []*Leaf {
	for _, g := range groups {
		buf = appendOnce(buf, g.always)
		for j := range g.picked {
			p := &g.picked[j]
			if p.slot < len(ev.Fields) && ev.Fields[p.slot].Kind() == subject.String {
				buf = append(buf, p.byText[ev.Fields[p.slot].Str()]...)
			}
		}
	}
	return buf
}

// appendOnce appends leaves; only those of sequences can be there already,
// through another of their steps.
func appendOnce(buf, leaves []*Leaf) []*Leaf {
	for _, l := range leaves {
		if l.program.seq == nil || !slices.Contains(buf, l) {
			buf = append(buf, l)
		}
	}
	return buf
}

// TraitSegments returns the segments of a purpose that read a top-level trait,
// as ascending indices into Segments (shared; do not change).
func (s *Set) TraitSegments(purpose int, key string) []int { return s.index.traits[purpose][key] }

// FromEvents reports, by segment, whether its answer rests on events or traits:
// its own leaves, or those of segments that it names.
func (s *Set) FromEvents() []bool {
	from := make([]bool, len(s.Segments))
	for _, traits := range s.index.traits {
		for _, segments := range traits {
			for _, i := range segments {
				from[i] = true
			}
		}
	}
	for i := range s.Segments {
		for _, l := range s.Segments[i].Leaves {
			from[i] = from[i] || !s.Leaves[l].Remembers()
		}
		if from[i] {
			for _, d := range s.Segments[i].Dependents {
				from[d] = true
			}
		}
	}
	return from
}

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

// NoSegment says that there is no segment with a key, and names the nearest one.
func (s *Set) NoSegment(key string) string {
	keys := make([]string, len(s.Segments))
	for i := range s.Segments {
		keys[i] = s.Segments[i].Key
	}
	return fmt.Sprintf("no segment %q%s", key, hint(key, keys))
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
