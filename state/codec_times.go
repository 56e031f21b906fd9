package state

import (
	"math/bits"
	"slices"

	"github.com/segmentd/segmentd/state/subject"
)

// One event usually is evidence for several leaves. Where the leaves of a
// record have at least twice as many times as there are different ones, these
// are written once, as a table, and leaves refer to them.

// insertTimes adds a leaf's times to an ascending table of different times.
func insertTimes(table, run []subject.Instant) []subject.Instant {
	hi := len(table)
	for i := len(run) - 1; i >= 0; i-- {
		if hi = placeOf(table, run[i], hi); hi == len(table) || table[hi] != run[i] {
			table = slices.Insert(table, hi, run[i])
		}
	}
	return table
}

// placeOf returns where a time is in table[:hi+1], or where it would have to be
// put. Times near the place asked for last are found soonest: the next few are
// looked at one by one, then ever larger strides back are taken.
func placeOf(table []subject.Instant, t subject.Instant, hi int) int {
	for near := 0; near < nearby; near++ {
		if hi == 0 || table[hi-1] < t {
			return hi
		}
		hi--
	}
	lo := hi
	for step := nearby; lo > 0 && table[lo-1] >= t; step *= 2 {
		hi, lo = lo, max(0, lo-step)
	}
	for lo < hi {
		if mid := int(uint(lo+hi) >> 1); table[mid] < t {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// nearby is as far back as times are looked at one by one.
const nearby = 6

// tableOf appends the different times of a record's leaves to room, and tells
// whether they make a table; if not, it stops early.
func tableOf(r *subject.Record, room []subject.Instant) (times []subject.Instant, worthIt bool) {
	n := 0
	for i := range r.Purposes {
		for j := range r.Purposes[i].Leaves {
			n += len(r.Purposes[i].Leaves[j].Times)
		}
	}
	for i := range r.Purposes {
		for j := range r.Purposes[i].Leaves {
			if room = insertTimes(room, r.Purposes[i].Leaves[j].Times); len(room) > n/2 {
				return room, false
			}
		}
	}
	return room, n > 0
}

// times writes ascending times going back from the newest.
func (e *encoder) times(times []subject.Instant) {
	last := len(times) - 1
	e.time(times[last])
	for i := last; i > 0; i-- {
		mustAscend(times[i-1] <= times[i])
		e.uvarint((uint64(times[i]) - uint64(times[i-1])) / uint64(e.unit))
	}
}

// references writes a leaf's times as places in the table, counted from its
// newest: first that of the leaf's newest, then how far on the next older one is.
func (e *encoder) references(times []subject.Instant) {
	at, before := len(e.shared), len(e.shared)-1
	for i := len(times) - 1; i >= 0; i-- {
		mustAscend(i == 0 || times[i-1] <= times[i])
		at = placeOf(e.shared, times[i], at)
		e.uvarint(uint64(before - at))
		before = at
		at = min(at+1, len(e.shared))
	}
}

// readTable reads the table of a record that has one.
func (d *Decoder) readTable() {
	n := d.count(1)
	d.require(n > 0)
	if d.bad {
		return
	}
	d.shared = append(d.shared[:0], make([]subject.Instant, n)...)
	d.used = append(d.used[:0], make([]bool, n)...)
	d.readRun(d.shared)
	for i := 1; i < n; i++ {
		d.require(d.shared[i-1] < d.shared[i])
	}
}

// readTimes reads a leaf's times and appends them in ascending order.
func (d *Decoder) readTimes(n int) {
	at := len(d.times)
	d.times = append(d.times, make([]subject.Instant, n)...)
	if d.tabled {
		d.readReferences(d.times[at:])
		return
	}
	d.readRun(d.times[at:])
}

// readRun reads times going back from the newest into an ascending slice.
func (d *Decoder) readRun(into []subject.Instant) {
	t := d.time()
	for i := len(into) - 1; ; i-- {
		into[i] = t
		if i == 0 {
			return
		}
		gap := d.uvarint()
		if gap == 0 {
			continue
		}
		hi, lo := bits.Mul64(gap, uint64(d.unit))
		older := subject.Instant(uint64(t) - lo)
		if hi != 0 || older >= t {
			d.fail()
		}
		t = older
	}
}

func (d *Decoder) readReferences(into []subject.Instant) {
	at := uint64(len(d.shared)) - 1
	for i := len(into) - 1; i >= 0; i-- {
		back := d.uvarint()
		if back > at {
			d.fail()
			return
		}
		at -= back
		into[i], d.used[at] = d.shared[at], true
	}
}

// tableIsRight reports whether the encoder would have written this table, or none.
func (d *Decoder) tableIsRight() bool {
	if d.tabled {
		for _, used := range d.used {
			if !used {
				return false
			}
		}
		return 2*len(d.shared) <= len(d.times)
	}
	d.merge = d.merge[:0]
	rest := d.times
	for _, n := range d.counts {
		n = max(n, -n)
		if d.merge = insertTimes(d.merge, rest[:n]); len(d.merge) > len(d.times)/2 {
			return true
		}
		rest = rest[n:]
	}
	return len(d.times) == 0
}
