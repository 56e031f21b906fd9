package core

import (
	"container/heap"

	"github.com/segmentd/segmentd/state/subject"
)

// Memory is Records in memory, for replay and tests. Subjects due at one
// instant come in the order in which they were armed.
type Memory struct {
	records map[subject.ID]*held
	order   []subject.ID
	timers  timerHeap
	armed   uint64
}

type held struct {
	record *subject.Record
	armed  subject.Instant // the earliest timer queued for it
}

// NewMemory returns an empty store.
func NewMemory() *Memory { return &Memory{records: map[subject.ID]*held{}} }

// Get implements Records.
func (m *Memory) Get(id subject.ID) (*subject.Record, error) {
	if h := m.records[id]; h != nil {
		return h.record, nil
	}
	return nil, nil
}

// Put implements Records.
func (m *Memory) Put(r *subject.Record) error {
	h := m.records[r.ID]
	if h == nil {
		h = &held{record: r, armed: subject.Never}
		m.records[r.ID] = h
		m.order = append(m.order, r.ID)
	}
	if at := r.Due(); at < h.armed {
		h.armed = at
		m.armed++
		heap.Push(&m.timers, timer{at: at, seq: m.armed, held: h})
	}
	return nil
}

// Earliest implements Records.
func (m *Memory) Earliest() subject.Instant {
	if len(m.timers) == 0 {
		return subject.Never
	}
	return m.timers[0].at
}

// Due implements Records.
func (m *Memory) Due(before subject.Instant) (*subject.Record, subject.Instant, bool, error) {
	for len(m.timers) > 0 && m.timers[0].at < before {
		t := heap.Pop(&m.timers).(timer)
		if t.held.armed != t.at {
			continue
		}
		t.held.armed = subject.Never
		if r := t.held.record; r.Due() == t.at {
			return r, t.at, true, nil
		} else if err := m.Put(r); err != nil {
			return nil, 0, false, err
		}
	}
	return nil, 0, false, nil
}

// Each calls f for every record, in the order in which they were first kept.
func (m *Memory) Each(f func(*subject.Record) error) error {
	for _, id := range m.order {
		if err := f(m.records[id].record); err != nil {
			return err
		}
	}
	return nil
}

type timer struct {
	at   subject.Instant
	seq  uint64
	held *held
}

type timerHeap []timer

func (h timerHeap) Len() int { return len(h) }
func (h timerHeap) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].seq < h[j].seq
}
func (h timerHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *timerHeap) Push(x any)   { *h = append(*h, x.(timer)) }
func (h *timerHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	*h = old[:len(old)-1]
	return t
}
