package state

import (
	"github.com/dgraph-io/badger/v4"

	"github.com/segmentd/segmentd/state/subject"
)

// Earliest returns a lower bound of the instants of all armed timers, Never if
// there is none. It takes no time to speak of.
func (p *Partition) Earliest() subject.Instant { return p.window.earliest() }

// Due removes the earliest timer strictly before an instant, and returns it and
// its record, which the caller must Put; ok is false if there is none. Timers
// come in order of instant, those of one instant in order of key.
func (p *Partition) Due(before subject.Instant) (r *subject.Record, at subject.Instant, ok bool, err error) {
	for p.window.earliest() < before {
		if len(p.window.heap) == 0 {
			if err := p.refill(); err != nil {
				return nil, 0, false, err
			}
			continue
		}
		t := p.window.pop()
		e, err := p.entry(t.key)
		if err != nil {
			return nil, 0, false, err
		}
		if e != nil && e.record.Due() == t.at {
			p.fire(e, t)
			return e.record, t.at, true, nil
		}
		if err := p.pass(e, t); err != nil {
			return nil, 0, false, err
		}
	}
	return nil, 0, false, nil
}

// fire removes the timer of a record that is due. The record becomes dirty, so
// that its commit arms it again wherever its Due then is.
func (p *Partition) fire(e *entry, t timer) {
	p.passed = append(p.passed, t)
	e.armed, e.stored = subject.Never, subject.Never
	p.touch(e)
}

// maxStale bounds the timers passed over that wait in memory for a commit.
const maxStale = 4096

// pass removes a timer whose record is gone or has another Due, and arms it
// there: the timer may have been the one that kept the INVARIANT.
func (p *Partition) pass(e *entry, t timer) error {
	at := subject.Never
	if e != nil {
		at = e.record.Due()
	}
	if e != nil && e.record.IsFence() { // a removal would write down once more when what is due of whom
		return nil
	}
	if at != subject.Never {
		p.window.arm(timer{at, t.key})
	}
	if e != nil && e.dirty {
		p.passed = append(p.passed, t)
		e.armed, e.stored = at, subject.Never
		return nil
	}
	if e != nil {
		e.armed, e.stored = at, at
	}
	if at != subject.Never {
		p.stale = append(p.stale, timerChange{timer{at, t.key}, true})
	}
	p.stale = append(p.stale, timerChange{t, false})
	if len(p.stale) < maxStale {
		return nil
	}
	return p.overlay.add(p.addStale)
}

// refill moves the horizon on: it brings the timers that follow into the
// window, from Badger and from what is not in Badger yet. The overlay is read
// first: what leaves it meanwhile is found in Badger.
func (p *Partition) refill() error {
	w := p.window
	from := w.horizon
	waiting := p.waiting(from)
	end := endOfTime
	var found []timer
	err := p.store.scan(p.space.prefix(kindTimer), p.space.appendTimer(nil, from), func(item *badger.Item) (bool, error) {
		t, ok := timerOf(item.Key())
		if !ok {
			return false, ErrDamaged
		}
		if len(found) == w.limit {
			end = t
			return false, nil
		}
		found = append(found, t)
		return true, nil
	})
	if err != nil {
		return p.readError(err)
	}
	w.horizon = end
	for _, ts := range [][]timer{found, waiting} {
		for _, t := range ts {
			w.arm(t)
		}
	}
	return nil
}

// waiting returns the timers at or behind a horizon that are not in Badger yet.
func (p *Partition) waiting(horizon timer) []timer {
	ts := p.overlay.timersFrom(horizon)
	for _, e := range p.dirty {
		if t := (timer{e.armed, e.key}); t.at != subject.Never && !t.before(horizon) {
			ts = append(ts, t)
		}
	}
	for _, c := range p.stale {
		if c.armed && !c.before(horizon) {
			ts = append(ts, c.timer)
		}
	}
	return ts
}
