package rules

import "github.com/segmentd/segmentd/state/subject"

// periods counts the windows of one width, back to back and counted back from
// T, that hold at least so many events: an event of age a lies in window a/width.
type periods struct {
	*program
	width int64 // microseconds
	least int64
}

func (p periods) count(v *View) subject.Value {
	e := p.read(v)
	full, window, n := int64(0), int64(-1), int64(0)
	for i := e.hi - 1; i >= e.lo; i-- { // ages ascend
		w := int64(v.At-e.times[i]) / p.width
		if w != window {
			window, n = w, 0
		}
		if n++; n == p.least {
			full++
		}
	}
	return subject.OfInt(full)
}

// turn is the next instant at which an event counts, counts no longer, or moves
// into the next window.
func (p periods) turn(v *View) subject.Instant {
	next := p.next(v)
	s := v.Purpose.Leaf(p.key)
	if s == nil {
		return next
	}
	lo, hi := p.active(s.Times, v.At, false)
	for _, t := range s.Times[lo:hi] {
		age := int64(v.At - t)
		next = min(next, after(v.At, p.width-age%p.width))
	}
	return next
}
