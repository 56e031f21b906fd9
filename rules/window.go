package rules

import (
	"math"

	"github.com/segmentd/segmentd/state/subject"
)

// unbounded is the span of a window without a lower rolling bound.
const unbounded = math.MaxInt64

// window is the intersection of all windows on a source with the purpose's
// retention: at T the events with times in (T−span, T−lag] ∩ [since, until]
// count, and of those the ones since every midnight. So an event at t counts
// during [t+lag, t+span), the same length for all, or until a day ends.
//
// INVARIANT: enters and leaves never go back as t grows.
type window struct {
	span      int64 // microseconds
	lag       int64 // microseconds
	since     subject.Instant
	until     subject.Instant
	midnights []midnight
	retained  bool // span is the purpose's retention and no rolling window's
}

// retention is the window of a source without any: the whole retention (0: for ever).
func retention(micros int64) window {
	w := window{span: unbounded, since: subject.LongAgo, until: subject.Never}
	if micros > 0 {
		w.span, w.retained = micros, true
	}
	return w
}

// narrow intersects w with (T−span, T−lag].
func (w *window) narrow(span, lag int64) {
	if span < w.span || span == w.span && w.retained {
		w.span, w.retained = span, false
	}
	w.lag = max(w.lag, lag)
}

// empty reports whether no event can ever count.
func (w *window) empty() bool { return w.span <= w.lag || w.since > w.until }

// enters is the instant from which an event at t counts.
func (w *window) enters(t subject.Instant) subject.Instant { return after(t, w.lag) }

// leaves is the first instant at which an event at t no longer counts.
func (w *window) leaves(t subject.Instant) subject.Instant {
	end := subject.Never
	if w.span != unbounded {
		end = after(t, w.span)
	}
	for i := range w.midnights {
		end = min(end, w.midnights[i].leaves(t))
	}
	return end
}

// oldest is the earliest time that counts at an instant; aged lets what leaves
// at that instant for retention alone still count.
func (w *window) oldest(at subject.Instant, aged bool) subject.Instant {
	oldest := subject.LongAgo
	if w.span != unbounded {
		if oldest = after(at, -w.span); !aged || !w.retained {
			oldest = after(oldest, 1)
		}
	}
	for i := range w.midnights {
		oldest = max(oldest, w.midnights[i].oldest(at))
	}
	return oldest
}

// bounded reports whether events ever leave the window.
func (w *window) bounded() bool { return w.span != unbounded || len(w.midnights) > 0 }

// after returns t + micros, saturating.
func after(t subject.Instant, micros int64) subject.Instant {
	if t == subject.Never || t == subject.LongAgo {
		return t
	}
	sum, ok := addMicros(int64(t), micros)
	switch {
	case ok || micros == 0:
		return subject.Instant(sum)
	case micros > 0:
		return subject.Never
	}
	return subject.LongAgo
}

// active returns the range of times that count at an instant; aged lets what
// leaves at that instant for retention alone still count.
func (w *window) active(times []subject.Instant, at subject.Instant, aged bool) (lo, hi int) {
	hi = w.entered(times, at)
	if !w.bounded() || hi == 0 {
		return 0, hi
	}
	oldest := w.oldest(at, aged)
	if times[0] >= oldest {
		return 0, hi
	}
	return min(firstFrom(times, oldest), hi), hi
}

// entered returns how many times have entered the window by an instant.
func (w *window) entered(times []subject.Instant, at subject.Instant) int {
	newest := after(at, -w.lag)
	n := len(times)
	if n == 0 || times[n-1] <= newest {
		return n
	}
	return firstFrom(times, after(newest, 1))
}

// expired returns how many times can count neither at an instant nor later,
// even aged.
func (w *window) expired(times []subject.Instant, at subject.Instant) int {
	if !w.bounded() || len(times) == 0 {
		return 0
	}
	oldest := w.oldest(at, true)
	if times[0] >= oldest {
		return 0
	}
	return firstFrom(times, oldest)
}

// turn returns the next instant at which the set of times in [lo, hi) changes.
func (w *window) turn(times []subject.Instant, lo, hi int) subject.Instant {
	next := subject.Never
	if lo < hi {
		next = w.leaves(times[lo])
	}
	if hi < len(times) {
		next = min(next, w.enters(times[hi]))
	}
	return next
}

// firstFrom returns the index of the first of ascending times that is at or after t.
func firstFrom(times []subject.Instant, t subject.Instant) int {
	lo, hi := 0, len(times)
	for lo < hi {
		m := int(uint(lo+hi) / 2)
		if times[m] < t {
			lo = m + 1
		} else {
			hi = m
		}
	}
	return lo
}
