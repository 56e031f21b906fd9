package rules

import (
	"cmp"

	"github.com/segmentd/segmentd/state/subject"
)

// evidence is what counts of a leaf at a view's instant: times[lo:hi].
type evidence struct {
	times  []subject.Instant
	values []subject.Value
	lo, hi int
}

// read returns what counts at v.At, with what v.KeepAged adds.
func (g *program) read(v *View) (e evidence) {
	if g.seq != nil {
		return g.seq.read(g, v)
	}
	if s := v.Purpose.Leaf(g.key); s != nil {
		e.times, e.values = s.Times, s.Values
		e.lo, e.hi = g.active(s.Times, v.At, v.KeepAged)
	}
	return e
}

// next returns the next instant at which what counts changes.
func (g *program) next(v *View) subject.Instant {
	if g.seq != nil {
		return g.seq.next(g, v)
	}
	s := v.Purpose.Leaf(g.key)
	if s == nil {
		return subject.Never
	}
	lo, hi := g.active(s.Times, v.At, false)
	return g.turn(s.Times, lo, hi)
}

func (g *program) count(v *View) subject.Value {
	e := g.read(v)
	return subject.OfInt(int64(e.hi - e.lo))
}

func (g *program) distinct(v *View) subject.Value { return subject.OfInt(int64(g.distinctCount(v))) }

// distinctCount counts the values that count. Without a lag the evidence holds
// one entry a value; with one, entries may have entered since it was thinned.
func (g *program) distinctCount(v *View) int {
	e := g.read(v)
	if g.lag == 0 && g.policy == keepDistinct {
		return e.hi - e.lo
	}
	n := 0
	v.scratch.seen.clear()
	for _, value := range e.values[e.lo:e.hi] {
		if v.scratch.seen.add(value) {
			n++
		}
	}
	return n
}

// total returns the sum of what counts.
func (e evidence) total() subject.Number {
	var sum subject.Number
	for i := e.lo; i < e.hi; i++ {
		// exact even where a partial sum is out of range; the caller judges the total
		sum, _ = sum.Add(e.values[i].Number())
	}
	return sum
}

func (g *program) sum(v *View) subject.Value {
	return number(g.read(v).total().Add(subject.Number{}))
}

func (g *program) avg(v *View) subject.Value {
	e := g.read(v)
	if e.lo == e.hi {
		return null
	}
	return number(e.total().Quo(subject.Int(int64(e.hi - e.lo))))
}

func (g *program) least(v *View) subject.Value    { return g.read(v).extreme(-1) }
func (g *program) greatest(v *View) subject.Value { return g.read(v).extreme(1) }

// extreme returns the least (sign -1) or greatest (1) number, or timestamp where
// there is no number.
func (e evidence) extreme(sign int) (best subject.Value) {
	for i := e.lo; i < e.hi; i++ {
		value := &e.values[i]
		c, ok := value.Compare(best)
		if best.IsNull() || best.Kind() == subject.Time && value.Kind() == subject.NumberKind || ok && c*sign > 0 {
			best = *value
		}
	}
	return best
}

// mostFrequent returns the value that counts most often; of several the one
// that came last.
func (g *program) mostFrequent(v *View) (best subject.Value) {
	e := g.read(v)
	f := &v.scratch.tally
	f.clear()
	for i := e.lo; i < e.hi; i++ {
		f.add(e.values[i])
	}
	most := 0
	for i := e.hi - 1; i >= e.lo; i-- {
		if n := f.count(e.values[i]); n > most {
			best, most = e.values[i], n
		}
	}
	return best
}

func (g *program) first(v *View) subject.Value {
	if e := g.read(v); e.lo < e.hi {
		return e.values[e.lo]
	}
	return null
}

func (g *program) last(v *View) subject.Value {
	if e := g.read(v); e.lo < e.hi {
		return e.values[e.hi-1]
	}
	return null
}

func (g *program) firstTime(v *View) subject.Value {
	if e := g.read(v); e.lo < e.hi {
		return subject.OfTime(e.times[e.lo])
	}
	return null
}

func (g *program) lastTime(v *View) subject.Value {
	if e := g.read(v); e.lo < e.hi {
		return subject.OfTime(e.times[e.hi-1])
	}
	return null
}

// threshold compares a leaf's quantity with a constant.
type threshold struct {
	*program
	op comparison
	n  int // for counts; at least 0
}

// counted answers count() op n and, where there is no lag, distinct() op n.
func (t *threshold) counted(v *View) bool {
	e := t.read(v)
	return t.op.holds(cmp.Compare(e.hi-e.lo, t.n))
}

func (t *threshold) countedDistinct(v *View) bool {
	return t.op.holds(cmp.Compare(t.distinctCount(v), t.n))
}

// nextCount is the instant at which the count, falling, makes the answer
// another, or at which an event enters the window.
func (t *threshold) nextCount(v *View) subject.Instant {
	s := v.Purpose.Leaf(t.key)
	if s == nil {
		return subject.Never
	}
	lo, hi := t.active(s.Times, v.At, false)
	next := subject.Never
	if hi < len(s.Times) {
		next = t.enters(s.Times[hi])
	}
	if k, ok := t.op.fallsTo(hi-lo, t.n); ok {
		next = min(next, t.leaves(s.Times[hi-1-k]))
	}
	return next
}

// fallsTo returns the greatest count below c at which the answer differs.
func (op comparison) fallsTo(c, n int) (k int, ok bool) {
	k = n
	switch {
	case c > n && (op == equal || op == notEqual || op == greater || op == lessEqual):
	case c == n && (op == equal || op == notEqual), c >= n && (op == less || op == greaterEqual):
		k = n - 1
	default:
		return 0, false
	}
	return k, k >= 0
}

// summed answers sum(x) op goal.
func (t *threshold) summed(v *View) bool {
	return t.op.holds(t.read(v).total().Cmp(t.goal))
}

// nextSum is the instant at which the sum, falling, no longer meets the goal,
// or at which what counts changes otherwise.
func (t *threshold) nextSum(v *View) subject.Instant {
	s := v.Purpose.Leaf(t.key)
	if s == nil {
		return subject.Never
	}
	lo, hi := t.active(s.Times, v.At, false)
	i := t.suffix(s.Values, lo, hi)
	next := subject.Never
	switch {
	case i >= 0:
		next = t.leaves(s.Times[i])
	case lo < hi && (t.op == equal || t.op == notEqual):
		next = t.leaves(s.Times[lo])
	}
	if hi < len(s.Times) {
		next = min(next, t.enters(s.Times[hi]))
	}
	return next
}
