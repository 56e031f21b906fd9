package rules

import (
	"slices"

	"github.com/segmentd/segmentd/state/subject"
)

// policy says which of the events that count a leaf must keep. It thins only
// the entries that count at the instant of decision: what has not entered its
// window yet (between) is kept whole.
type policy uint8

const (
	keepAll      policy = iota
	keepNewest          // the program.limit newest
	keepSum             // the shortest newest suffix whose sum reaches (strict: exceeds) program.goal
	keepMin             // those that no newer one is less than or equal to
	keepMax             // those that no newer one is more than or equal to
	keepDistinct        // the newest of each value, of the program.limit newest values (0: of all)
)

// gather says which values of its argument a leaf takes; a list counts as its elements.
type gather uint8

const (
	gatherNone    gather = iota // times alone
	gatherNumbers               // sum, avg
	gatherOrdered               // numbers and timestamps: min, max
	gatherValues                // all but null: distinct, most_frequent
	gatherRaw                   // the argument as it is, null too: first, last
)

// leafKind tells what feeds a leaf.
type leafKind uint8

const (
	eventLeaf leafKind = iota // events
	markLeaf                  // answers given: see mark
)

// program is what a leaf does, shared by the leaf and the closures that read it.
type program struct {
	window
	key    uint32
	event  pattern // the source's events
	where  []truthFn
	seq    *sequence // of a source with followers; nil: none
	kind   leafKind
	pick   *pick // an equality that where implies; nil: none
	gather gather
	arg    valueFn         // nil where gather is gatherNone
	floor  *subject.Number // numbers below count as missing; nil: none
	policy policy
	limit  int
	goal   subject.Number
	strict bool
	daily  bool // arg is the day of the event

	source, argument string      // canonical texts: the source without its window, and arg
	ends             []exprPlace // the aggregates that it serves
}

// insert implements Leaf.Insert.
func (g *program) insert(p *subject.Purpose, ev *subject.Event, at subject.Instant, v *View) (touched, changed bool) {
	if ev.Time < g.since || ev.Time > g.until && g.seq == nil || g.leaves(ev.Time) <= at || g.empty() {
		return false, false
	}
	v.scratch.event = ev
	if g.seq != nil {
		changed = g.seq.insert(g, p, ev, at, v)
		return changed, changed
	}
	if !holdAll(g.where, v) {
		return false, false
	}
	switch g.gather {
	case gatherNone:
		return true, g.admit(p, entry{at: ev.Time}, at)
	case gatherRaw:
		return true, g.admit(p, entry{at: ev.Time, value: g.arg(v)}, at)
	}
	return true, g.insertEach(p, entry{at: ev.Time, value: g.arg(v)}, at)
}

// insertEach admits the elements of a list, or the one value.
func (g *program) insertEach(p *subject.Purpose, e entry, at subject.Instant) bool {
	if e.value.Kind() != subject.List {
		return g.takes(e.value) && g.admit(p, e, at)
	}
	changed := false
	for _, element := range e.value.List() {
		if g.takes(element) && g.admit(p, entry{at: e.at, value: element}, at) {
			changed = true
		}
	}
	return changed
}

// takes reports whether a value can be evidence.
func (g *program) takes(v subject.Value) bool {
	if v.Kind() == subject.NumberKind {
		if g.floor != nil && v.Number().Cmp(*g.floor) < 0 {
			return false
		}
		return g.policy != keepSum || v.Number().Sign() > 0
	}
	switch g.gather {
	case gatherOrdered:
		return v.Kind() == subject.Time
	case gatherValues:
		return !v.IsNull()
	}
	return false
}

// entry is one piece of evidence.
type entry struct {
	at    subject.Instant
	value subject.Value
}

// admit adds an entry where it can matter and reports whether it was kept.
func (g *program) admit(p *subject.Purpose, e entry, at subject.Instant) bool {
	state := p.EnsureLeaf(g.key)
	g.prune(state, at)
	kept := g.place(state, e, at)
	if len(state.Times) == 0 {
		p.DropLeaf(g.key)
	}
	return kept
}

// place inserts an entry into pruned evidence by the leaf's policy.
func (g *program) place(s *subject.Leaf, e entry, at subject.Instant) bool {
	entered := g.entered(s.Times, at)
	i := firstFrom(s.Times, after(e.at, 1))
	pending := g.enters(e.at) > at
	if pending || g.policy == keepAll {
		g.put(s, i, e)
		return true
	}
	switch g.policy {
	case keepNewest:
		rank := i
		if g.gather == gatherNone { // equal times are not told apart
			rank = firstFrom(s.Times, e.at)
		}
		if entered-rank >= g.limit {
			return false
		}
	case keepMin, keepMax:
		return g.placeExtreme(s, i, e, entered)
	case keepDistinct:
		return g.placeDistinct(s, i, e, entered)
	}
	g.put(s, i, e)
	return g.thin(s, entered+1) <= i
}

func (g *program) put(s *subject.Leaf, i int, e entry) {
	s.Times = slices.Insert(s.Times, i, e.at)
	if g.gather != gatherNone || g.seq != nil {
		s.Values = slices.Insert(s.Values, i, owned(e.value))
	}
}

// placeDistinct keeps the newest entry of each value.
func (g *program) placeDistinct(s *subject.Leaf, i int, e entry, entered int) bool {
	if old := indexOf(s.Values[:entered], e.value); old >= i {
		return false // the value has a newer entry
	} else if old >= 0 {
		if s.Times[old] == e.at {
			return false
		}
		// its value object moves along, so that nothing is allocated
		v := s.Values[old]
		copy(s.Times[old:i-1], s.Times[old+1:i])
		copy(s.Values[old:i-1], s.Values[old+1:i])
		s.Times[i-1], s.Values[i-1] = e.at, v
		return true
	}
	if g.limit > 0 && entered-i >= g.limit {
		return false
	}
	g.put(s, i, e)
	return g.thin(s, entered+1) <= i
}

func indexOf(values []subject.Value, v subject.Value) int {
	for i := range values {
		if values[i].Equal(v) {
			return i
		}
	}
	return -1
}

// placeExtreme keeps an entry unless a newer one makes it irrelevant, and drops
// the older ones that it makes irrelevant.
func (g *program) placeExtreme(s *subject.Leaf, i int, e entry, entered int) bool {
	for _, newer := range s.Values[i:entered] {
		if g.covers(newer, e.value) {
			return false
		}
	}
	g.put(s, i, e)
	w := 0
	for r := range s.Times {
		if r < i && g.covers(e.value, s.Values[r]) {
			continue
		}
		s.Times[w], s.Values[w] = s.Times[r], s.Values[r]
		w++
	}
	g.cut(s, w)
	return true
}

// covers reports whether an older value can no longer be the extreme beside a newer one.
func (g *program) covers(newer, older subject.Value) bool {
	c, ok := newer.Compare(older)
	return ok && (c == 0 || (c < 0) == (g.policy == keepMin))
}

// prune implements Leaf.Prune: it drops what has left the window, and thins
// what has entered it since.
func (g *program) prune(s *subject.Leaf, at subject.Instant) {
	dropHead(s, g.expired(s.Times, at))
	if g.lag == 0 || g.policy == keepAll {
		return
	}
	entered := g.entered(s.Times, at)
	switch g.policy {
	case keepMin, keepMax:
		g.thinExtreme(s, entered)
	case keepDistinct:
		g.thin(s, g.dropRepeats(s, entered))
	default:
		g.thin(s, entered)
	}
}

// thin drops the oldest of the entered entries that newer ones make irrelevant
// and returns how many.
func (g *program) thin(s *subject.Leaf, entered int) int {
	drop := 0
	switch {
	case g.policy == keepSum:
		drop = max(0, g.suffix(s.Values, 0, entered))
	case g.limit > 0:
		drop = max(0, entered-g.limit)
	}
	dropHead(s, drop)
	return drop
}

// suffix returns where the shortest suffix of values[lo:hi] that meets the goal
// begins, -1 if none does.
func (g *program) suffix(values []subject.Value, lo, hi int) int {
	var sum subject.Number
	for i := hi - 1; i >= lo; i-- {
		sum, _ = sum.Add(values[i].Number())
		if c := sum.Cmp(g.goal); c > 0 || c == 0 && !g.strict {
			return i
		}
	}
	return -1
}

// thinExtreme drops the entered entries that newer ones cover.
func (g *program) thinExtreme(s *subject.Leaf, entered int) {
	var numbers, times subject.Value // the extreme so far of each kind, newest first
	w := entered
	for r := entered - 1; r >= 0; r-- {
		best := &numbers
		if s.Values[r].Kind() == subject.Time {
			best = &times
		}
		if g.covers(*best, s.Values[r]) {
			continue
		}
		*best = s.Values[r]
		w--
		s.Times[w], s.Values[w] = s.Times[r], s.Values[r]
	}
	dropHead(s, w)
}

// dropRepeats drops of the entered entries all but the newest of each value and
// returns how many entered entries are left.
func (g *program) dropRepeats(s *subject.Leaf, entered int) int {
	var seen seen
	w := entered
	for r := entered - 1; r >= 0; r-- {
		if !seen.add(s.Values[r]) {
			continue
		}
		w--
		s.Times[w], s.Values[w] = s.Times[r], s.Values[r]
	}
	dropHead(s, w)
	return entered - w
}

func dropHead(s *subject.Leaf, n int) {
	if n == 0 {
		return
	}
	s.Times = slices.Delete(s.Times, 0, n)
	if s.Values != nil {
		s.Values = slices.Delete(s.Values, 0, n)
	}
}

// cut drops all entries from n on.
func (g *program) cut(s *subject.Leaf, n int) {
	s.Times = slices.Delete(s.Times, n, len(s.Times))
	if s.Values != nil {
		s.Values = slices.Delete(s.Values, n, len(s.Values))
	}
}

// seen is a set of values. The zero seen is empty.
type seen struct {
	plain  map[subject.Value]struct{}
	values []subject.Value // lists, maps and numbers of many digits
}

// add reports whether v was not in the set.
func (s *seen) add(v subject.Value) bool {
	if !isPlain(v) {
		if indexOf(s.values, v) >= 0 {
			return false
		}
		s.values = append(s.values, v)
		return true
	}
	if _, ok := s.plain[v]; ok {
		return false
	}
	if s.plain == nil {
		s.plain = make(map[subject.Value]struct{})
	}
	s.plain[v] = struct{}{}
	return true
}

func (s *seen) clear() {
	clear(s.plain)
	s.values = s.values[:0]
}

// isPlain reports whether == on v is Equal: its number is in normal form and
// nothing of it lies behind a pointer.
func isPlain(v subject.Value) bool {
	switch v.Kind() {
	case subject.List, subject.Map:
		return false
	case subject.NumberKind:
		_, _, big := v.Number().Parts()
		return big == nil
	}
	return true
}
