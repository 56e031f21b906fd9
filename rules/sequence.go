package rules

import (
	"slices"

	"github.com/segmentd/segmentd/state/subject"
)

// sequence is what a leaf does whose source has followers: it keeps the events
// of all its steps in one list, in order of time and arrival, and finds at each
// reading which of the first step's events are followed as the rule asks.
//
// An entry's value is the set of steps that the event can be, a number with one
// bit a step, or, where more is needed of the event, a list: that number and
// then the cells.
type sequence struct {
	steps []step // the first is the source itself; followers come after those they follow
	cells []*cell
}

// step is one source of a sequence.
type step struct {
	event   pattern
	where   []truthFn // judged once, of the event alone
	pairs   []truthFn // judged of the event and the one before it
	join    *join     // an equality among pairs; nil: none
	follows []follow
}

// join is an equality of something of the earlier event and something of the
// later one, by which followers are found without trying all.
type join struct{ earlier, later valueFn }

// follow is a condition on what comes after a step's event.
type follow struct {
	step   int   // the follower
	within int64 // microseconds
	never  bool  // not_followed_by
}

// cell is something of an event that a sequence needs later. Its place is known
// only once the whole sequence is compiled.
type cell struct {
	text    string
	capture valueFn
	first   bool // needed of the first step's events only
	index   int
}

// maxPaired bounds the entries of a sequence whose followers can only be found by
// trying each: a reading tries half the square of it at most.
const maxPaired = 2048

// tries reports whether some follower is found only by trying each.
func (q *sequence) tries() bool {
	return slices.ContainsFunc(q.steps, func(s step) bool { return len(s.pairs) > 0 && s.join == nil })
}

// maxSteps bounds the steps of a sequence: the bits of an entry's number.
const maxSteps = 32

// insert adds an event that can be one of the steps.
func (q *sequence) insert(g *program, p *subject.Purpose, ev *subject.Event, at subject.Instant, v *View) bool {
	steps := q.stepsOf(ev, v)
	if ev.Time > g.until {
		steps &^= 1
	}
	if steps == 0 {
		return false
	}
	state := p.EnsureLeaf(g.key)
	dropHead(state, g.expired(state.Times, at))
	g.put(state, firstFrom(state.Times, after(ev.Time, 1)), entry{at: ev.Time, value: q.value(steps, v)})
	return true
}

// stepsOf returns the steps that an event can be, as bits.
func (q *sequence) stepsOf(ev *subject.Event, v *View) (steps uint32) {
	for i := range q.steps {
		if s := &q.steps[i]; s.event.matches(ev.Name) && holdAll(s.where, v) {
			steps |= 1 << i
		}
	}
	return steps
}

func holdAll(conditions []truthFn, v *View) bool {
	for _, holds := range conditions {
		if !holds(v) {
			return false
		}
	}
	return true
}

// value makes the entry of the event in scope.
func (q *sequence) value(steps uint32, v *View) subject.Value {
	number := subject.OfInt(int64(steps))
	if len(q.cells) == 0 {
		return number
	}
	list := make([]subject.Value, 1+len(q.cells))
	list[0] = number
	for i, c := range q.cells {
		if !c.first || steps&1 != 0 {
			list[1+i] = c.capture(v)
		}
	}
	return subject.OfList(list)
}

// entrySteps reads the steps of an entry.
func entrySteps(v subject.Value) uint32 {
	if l := v.List(); len(l) > 0 {
		v = l[0]
	}
	n, _ := v.Number().Int64()
	return uint32(n)
}

// entryCell reads a cell of an entry, null where it has none.
func entryCell(v subject.Value, c *cell) subject.Value {
	if l := v.List(); c.index+1 < len(l) {
		return l[c.index+1]
	}
	return null
}

// pairing is the two events that a follower's where compares.
type pairing struct {
	leaf           *subject.Leaf
	earlier, later int
}

// matching is the memory for finding what matches.
type matching struct {
	pair   pairing
	steps  []uint32 // of each entry
	held   []uint32 // the steps that each entry is, followers included
	times  []subject.Instant
	values []subject.Value

	heads map[subject.Value]int32 // the nearest follower by what it is joined by
	rest  int32                   // of those that are joined by lists, maps and numbers of many digits; -1: none
	links []int32                 // the next follower in the same chain; -1: none
}

// noEntry ends a chain.
const noEntry int32 = -1

// begin empties the chains.
func (m *matching) begin(entries int) {
	if m.heads == nil {
		m.heads = make(map[subject.Value]int32)
	}
	clear(m.heads)
	m.rest = noEntry
	m.links = slices.Grow(m.links[:0], entries)[:entries]
}

// head returns the nearest follower that a key may join.
func (m *matching) head(key subject.Value) int32 {
	if !isPlain(key) {
		return m.rest
	}
	if j, ok := m.heads[key]; ok {
		return j
	}
	return noEntry
}

// add puts a follower before those that come later.
func (m *matching) add(key subject.Value, i int) {
	m.links[i] = m.head(key)
	if isPlain(key) {
		m.heads[key] = int32(i)
	} else {
		m.rest = int32(i)
	}
}

// matches fills m with the steps that each entry is at an instant: those whose
// followers are as they should be, whatever the event before.
func (q *sequence) matches(s *subject.Leaf, v *View) {
	m := &v.scratch.matching
	m.pair.leaf = s
	m.steps, m.held = m.steps[:0], m.held[:0]
	for i := range s.Values {
		steps := entrySteps(s.Values[i])
		m.steps, m.held = append(m.steps, steps), append(m.held, steps)
	}
	for i := len(q.steps) - 1; i >= 0; i-- { // followers come after those they follow
		for _, f := range q.steps[i].follows {
			q.applyFollow(i, f, s, v)
		}
	}
	m.pair.leaf = nil
}

// applyFollow takes a step away from the entries that break one of its
// conditions: from the newest back, so that the followers met so far are those
// that come after.
func (q *sequence) applyFollow(step int, f follow, s *subject.Leaf, v *View) {
	m := &v.scratch.matching
	bit, follower := uint32(1)<<step, uint32(1)<<f.step
	by := q.steps[f.step].join
	m.begin(len(s.Times))
	for i := len(s.Times) - 1; i >= 0; i-- {
		m.pair.earlier, m.pair.later = i, i
		if m.held[i]&bit != 0 {
			var key subject.Value
			if by != nil {
				key = by.earlier(v)
			}
			if q.followed(f, s, v, m.head(key)) == f.never {
				m.held[i] &^= bit
			}
		}
		if m.held[i]&follower != 0 {
			var key subject.Value
			if m.pair.later = i; by != nil {
				key = by.later(v)
			}
			m.add(key, i)
		}
	}
}

// followed reports whether the pair's earlier entry has the follower, of the
// chain that begins at next; where it must have none, also until its time is over.
func (q *sequence) followed(f follow, s *subject.Leaf, v *View, next int32) bool {
	m := &v.scratch.matching
	deadline := after(s.Times[m.pair.earlier], f.within)
	if f.never && v.At < deadline {
		return true
	}
	pairs := q.steps[f.step].pairs
	for j := next; j != noEntry && s.Times[j] <= deadline; j = m.links[j] {
		m.pair.later = int(j)
		if holdAll(pairs, v) {
			return true
		}
	}
	return false
}

// read returns what counts: the first step's events that are followed as they
// should be, as evidence of their own.
func (q *sequence) read(g *program, v *View) (e evidence) {
	s := v.Purpose.Leaf(g.key)
	if s == nil {
		return e
	}
	q.matches(s, v)
	m := &v.scratch.matching
	m.times, m.values = m.times[:0], m.values[:0]
	lo, hi := g.active(s.Times, v.At, v.KeepAged)
	for i := lo; i < hi; i++ {
		if m.held[i]&1 != 0 {
			q.count(g, m, s.Times[i], s.Values[i])
		}
	}
	e.times, e.values, e.hi = m.times, m.values, len(m.times)
	return e
}

// count adds what a leaf of one event would have gathered of it.
func (q *sequence) count(g *program, m *matching, at subject.Instant, value subject.Value) {
	if g.gather == gatherNone {
		m.times = append(m.times, at)
		return
	}
	arg := entryCell(value, q.cells[0])
	if g.gather == gatherRaw || arg.Kind() != subject.List {
		if g.gather == gatherRaw || g.takes(arg) {
			m.times, m.values = append(m.times, at), append(m.values, arg)
		}
		return
	}
	for _, element := range arg.List() {
		if g.takes(element) {
			m.times, m.values = append(m.times, at), append(m.values, element)
		}
	}
}

// next is the earliest instant at which what counts may change: where an event
// enters or leaves the window, or the time for a follower is over.
func (q *sequence) next(g *program, v *View) subject.Instant {
	s := v.Purpose.Leaf(g.key)
	if s == nil {
		return subject.Never
	}
	lo, hi := g.active(s.Times, v.At, false)
	next := g.turn(s.Times, lo, hi)
	for i := range q.steps {
		for _, f := range q.steps[i].follows {
			if f.never {
				next = min(next, nextDeadline(s, v.At, f.within, 1<<i))
			}
		}
	}
	return next
}

// nextDeadline is the earliest instant later than at at which an entry of a
// step has waited for so long.
func nextDeadline(s *subject.Leaf, at subject.Instant, within int64, step uint32) subject.Instant {
	for i := firstFrom(s.Times, after(after(at, -within), 1)); i < len(s.Times); i++ {
		if entrySteps(s.Values[i])&step != 0 {
			return after(s.Times[i], within)
		}
	}
	return subject.Never
}
