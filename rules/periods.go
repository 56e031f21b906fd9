package rules

import (
	"cmp"
	"slices"

	"github.com/segmentd/segmentd/state/subject"
)

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

// turn is the next instant at which the count changes, or what counts does. Each
// event moves into the next window once in the time of a width, and after it all
// stand to each other as before: what does not change within a width does not
// change before an event enters or leaves.
func (p periods) turn(v *View) subject.Instant {
	next := p.next(v)
	e := p.read(v)
	m := &v.scratch.moving
	m.least, m.last, m.events = int(min(p.least, int64(len(e.times))+1)), move{}, m.events[:0]
	for i := e.hi - 1; i >= e.lo; i-- {
		age := int64(v.At - e.times[i])
		m.events = append(m.events, waiting{window: age / p.width, wait: p.width - age%p.width})
	}
	// Mostly the first change is near, and the later moves need no order.
	for from, to := int64(0), max(p.width/64, 1); from < p.width && after(v.At, from) < next; from, to = to, to*8 {
		if wait, ok := m.first(from, to); ok {
			return min(next, after(v.At, wait))
		}
	}
	return next
}

// waiting is an event that counts, in the window it was in at first.
type waiting struct {
	window int64
	wait   int64 // until it passes into the next one, in microseconds
}

// moving is the events that count, the youngest first, as they pass into the
// next windows one after the other.
type moving struct {
	least  int
	events []waiting
	moves  []move // of the time that is looked at
	last   move   // the last that has happened; the zero move: none
}

// move is an event's passing into the next window.
type move struct {
	wait  int64
	event int
}

func compareMoves(a, b move) int {
	if a.wait != b.wait {
		return cmp.Compare(a.wait, b.wait)
	}
	return a.event - b.event
}

// first returns in how many microseconds, more than from and up to to, the count
// first changes; ok is false if it does not.
func (m *moving) first(from, to int64) (wait int64, ok bool) {
	m.moves = m.moves[:0]
	for i := range m.events {
		if w := m.events[i].wait; w > from && w <= to {
			m.moves = append(m.moves, move{w, i})
		}
	}
	slices.SortFunc(m.moves, compareMoves)
	change := 0 // of the count so far
	for i, next := range m.moves {
		change -= m.fullAround(next.event)
		m.last = next
		change += m.fullAround(next.event)
		if change != 0 && (i+1 == len(m.moves) || m.moves[i+1].wait != next.wait) {
			return next.wait, true
		}
	}
	return 0, false
}

// fullAround counts the windows that are full by an event that may be another
// after the given one has moved. A window is full by its least-th event from the
// youngest on; which that is depends on the event itself and on those least-1 and
// least before it.
func (m *moving) fullAround(event int) (full int) {
	if m.fills(event) {
		full++
	}
	if m.least > 1 && m.fills(event+m.least-1) {
		full++
	}
	if m.fills(event + m.least) {
		full++
	}
	return full
}

// fills reports whether an event is the least-th of its window.
func (m *moving) fills(event int) bool {
	first := event - m.least + 1
	if first < 0 || event >= len(m.events) {
		return false
	}
	window := m.window(event)
	return m.window(first) == window && (first == 0 || m.window(first-1) != window)
}

// window is the one that an event is in now.
func (m *moving) window(event int) int64 {
	e := &m.events[event]
	if compareMoves(move{e.wait, event}, m.last) <= 0 {
		return e.window + 1
	}
	return e.window
}
