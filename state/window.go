package state

import (
	"slices"

	"github.com/segmentd/segmentd/state/subject"
)

// window holds the nearest timers of a partition in memory: every timer before
// its horizon is in it, those at or behind it are in the image, the overlay or
// a dirty record only. A timer may be in it twice, and may be stale.
type window struct {
	heap    []timer // a binary heap
	horizon timer
	limit   int
}

// endOfTime is behind every timer that can be armed.
var endOfTime = timer{at: subject.Never}

func newWindow(limit int) *window { return &window{limit: limit, horizon: timer{at: subject.LongAgo}} }

// earliest is a lower bound of the instants of all timers, in or behind the window.
func (w *window) earliest() subject.Instant {
	if len(w.heap) == 0 {
		return w.horizon.at
	}
	return w.heap[0].at
}

// arm takes a timer in, unless it lies behind the horizon.
func (w *window) arm(t timer) {
	if !t.before(w.horizon) {
		return
	}
	if len(w.heap) >= 2*w.limit {
		w.cut()
		if !t.before(w.horizon) {
			return
		}
	}
	w.heap = append(w.heap, t)
	w.up(len(w.heap) - 1)
}

// cut keeps the earliest limit timers, each once: the horizon must be behind all
// that are kept, or a stale one that is passed over would be found again and
// again. A sorted slice is a heap.
func (w *window) cut() {
	slices.SortFunc(w.heap, timer.compare)
	if w.heap = slices.Compact(w.heap); len(w.heap) > w.limit {
		w.horizon = w.heap[w.limit]
		w.heap = w.heap[:w.limit]
	}
}

// pop removes the earliest timer. The window must not be empty.
func (w *window) pop() timer {
	t := w.heap[0]
	last := len(w.heap) - 1
	w.heap[0] = w.heap[last]
	w.heap = w.heap[:last]
	w.down(0)
	return t
}

func (w *window) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !w.heap[i].before(w.heap[parent]) {
			return
		}
		w.heap[i], w.heap[parent] = w.heap[parent], w.heap[i]
		i = parent
	}
}

func (w *window) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(w.heap) {
			return
		}
		if child+1 < len(w.heap) && w.heap[child+1].before(w.heap[child]) {
			child++
		}
		if !w.heap[child].before(w.heap[i]) {
			return
		}
		w.heap[i], w.heap[child] = w.heap[child], w.heap[i]
		i = child
	}
}

// clear forgets all: the horizon is at the beginning of time.
func (w *window) clear() {
	w.heap, w.horizon = w.heap[:0], timer{at: subject.LongAgo}
}
