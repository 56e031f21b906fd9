package core

import (
	"fmt"

	"github.com/segmentd/segmentd/state/subject"
)

// Records keeps the subjects of one partition and their timers. Used by one
// goroutine.
type Records interface {
	// Get returns what is kept about a subject, nil if nothing is. The caller may
	// change it in place and then must Put it.
	Get(id subject.ID) (*subject.Record, error)
	// Put keeps the record and arms its timer at r.Due().
	Put(r *subject.Record) error
	// Earliest returns a lower bound of the instants of all armed timers.
	Earliest() subject.Instant
	// Due removes and returns the record with the earliest timer strictly before
	// an instant, and that timer; ok is false if there is none.
	Due(before subject.Instant) (r *subject.Record, at subject.Instant, ok bool, err error)
}

// Machine is one partition's subjects and clock: it drives the engine input by
// input, firing timers as the clock passes them. Used by one goroutine.
type Machine struct {
	engine  *Engine
	records Records
	clock   subject.Instant

	TimersFired uint64
}

// NewMachine returns a machine whose clock stands at an instant.
func NewMachine(engine *Engine, records Records, clock subject.Instant) *Machine {
	return &Machine{engine: engine, records: records, clock: clock}
}

// Clock returns the partition's clock. It never goes back.
func (m *Machine) Clock() subject.Instant { return m.clock }

// Engine returns the engine, whose Changes the caller takes.
func (m *Machine) Engine() *Engine { return m.engine }

// Advance moves the clock on and fires every timer strictly before it, of all
// subjects in order of instant. An instant the clock has passed moves nothing,
// but still fires what inputs behind the clock have armed before it. After
// limit timers (0: no limit) it stops with the clock at the last of them and
// done false; a further call goes on.
func (m *Machine) Advance(to subject.Instant, limit int) (done bool, err error) {
	to = max(to, m.clock)
	for fired := 0; m.records.Earliest() < to; fired++ {
		if limit > 0 && fired == limit {
			return false, nil
		}
		r, at, ok, err := m.records.Due(to)
		if err != nil {
			return false, fmt.Errorf("find due timers: %w", err)
		}
		if !ok {
			break
		}
		m.clock = max(m.clock, at)
		if m.engine.Fire(r, to) {
			m.TimersFired++
		}
		if err := m.records.Put(r); err != nil {
			return false, fmt.Errorf("keep subject: %w", err)
		}
	}
	m.clock = to
	return true, nil
}

// Event applies an event. The caller has moved the clock (Advance) to the
// earlier of its time and arrival.
func (m *Machine) Event(ev *subject.Event) (subject.Outcome, error) {
	if !m.engine.Concerns(ev) {
		return subject.OutcomeUnused, nil
	}
	r, err := m.records.Get(ev.Subject)
	if err != nil {
		return subject.OutcomeRejected, fmt.Errorf("read subject: %w", err)
	}
	if r == nil {
		r = subject.NewRecord(ev.Subject)
	}
	out, changed := m.engine.Event(r, ev)
	if !changed {
		return out, nil
	}
	if err := m.records.Put(r); err != nil {
		return out, fmt.Errorf("keep subject: %w", err)
	}
	return out, nil
}

// Dated gives a decision without any usable date the one it counts as taken at.
func (m *Machine) Dated(d subject.Decision) subject.Decision {
	if d.Effective() == subject.Never {
		d.Arrival = max(m.clock, 0)
	}
	return d
}

// DatedRequest gives a request without any usable date the one it counts as made at.
func (m *Machine) DatedRequest(q *subject.Request) *subject.Request {
	if q.Effective() != subject.Never {
		return q
	}
	dated := *q
	dated.Arrival = max(m.clock, 0)
	return &dated
}

// Request applies a data subject's request; it does not move the clock. One
// without any usable date counts as made at the clock. It reports whether the
// subject's record changed. While a change of rules is under way the caller has
// more to do: see Migration.
func (m *Machine) Request(q *subject.Request) (changed bool, err error) {
	if q.Kind == subject.Access || q.Kind == subject.Portability {
		return false, nil
	}
	if q.Kind == subject.Import {
		done, err := m.Import(q)
		return done.Changed, err
	}
	q = m.DatedRequest(q)
	r, err := m.records.Get(q.Subject)
	if err != nil {
		return false, fmt.Errorf("read subject: %w", err)
	}
	if r == nil {
		r = subject.NewRecord(q.Subject)
	}
	if !m.engine.Request(r, q, m.clock) {
		return false, nil
	}
	if err := m.records.Put(r); err != nil {
		return false, fmt.Errorf("keep subject: %w", err)
	}
	return true, nil
}

// Import takes in what another instance has handed over of a subject; it does not
// move the clock.
func (m *Machine) Import(q *subject.Request) (done Imported, err error) {
	q = m.DatedRequest(q)
	r, err := m.records.Get(q.Subject)
	if err != nil {
		return done, fmt.Errorf("read subject: %w", err)
	}
	if r == nil {
		r = subject.NewRecord(q.Subject)
	}
	if done = m.engine.Import(r, q); !done.Changed {
		return done, nil
	}
	if err := m.records.Put(r); err != nil {
		return done, fmt.Errorf("keep subject: %w", err)
	}
	return done, nil
}

// Decision applies a decision; it does not move the clock. One without any
// usable date counts as taken at the clock.
func (m *Machine) Decision(d subject.Decision) error {
	d = m.Dated(d)
	r, err := m.records.Get(d.Subject)
	if err != nil {
		return fmt.Errorf("read subject: %w", err)
	}
	if r == nil {
		r = subject.NewRecord(d.Subject)
	}
	if !m.engine.Decide(r, d, m.clock) {
		return nil
	}
	if err := m.records.Put(r); err != nil {
		return fmt.Errorf("keep subject: %w", err)
	}
	return nil
}
