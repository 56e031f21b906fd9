package core

import (
	"github.com/segmentd/segmentd/processor/consent"
	"github.com/segmentd/segmentd/state/subject"
)

// Fire applies what is due of the record at the earliest instant, given the
// partition's clock: flips and expiries strictly before it, grants up to it.
// It reports whether the record must be saved: false if nothing was due, or
// the candidate turned out to flip nothing and the next one is already past.
func (e *Engine) Fire(r *subject.Record, clock subject.Instant) (changed bool) {
	e.index(r)
	d, ok := e.due(r, clock, false)
	if ok {
		e.fireAt(r, d, false)
	}
	e.rearm(r)
	return ok
}

// advance applies everything of the subject that comes before an input at the
// instant to, each at its own instant: flips and expiries before it, grants up
// to it, and with expiry also the expiries at it.
func (e *Engine) advance(r *subject.Record, to subject.Instant, expiry bool) {
	for {
		d, ok := e.due(r, to, expiry)
		if !ok {
			return
		}
		e.fireAt(r, d, expiry && d == to)
	}
}

// due returns the earliest instant at which something of the subject is due.
func (e *Engine) due(r *subject.Record, to subject.Instant, expiry bool) (subject.Instant, bool) {
	grant, end, flip := subject.Never, subject.Never, subject.Never
	for i := range r.Purposes {
		p := &r.Purposes[i]
		grant = min(grant, e.pending(p, r.Clock))
		if !p.Basis.Known {
			continue
		}
		end = min(end, p.Basis.Until)
		for _, a := range p.Armed {
			flip = min(flip, a.At)
		}
	}
	d := subject.Never
	if flip < to {
		d = flip
	}
	if end < to || expiry && end == to {
		d = min(d, end)
	}
	if grant <= to {
		d = min(d, grant)
	}
	return d, d != subject.Never
}

// fireAt applies what is due at the instant d: grants, then expiries (those at
// a grant's own instant only if expiry is set: a renewal at that instant may
// still come), then one pass over what may flip. The subject's clock moves only
// if something took effect.
func (e *Engine) fireAt(r *subject.Record, d subject.Instant, expiry bool) {
	granted := e.takeGrants(r, d)
	expired := false
	if expiry || !granted {
		expired = e.expire(r, d)
	}
	e.markArmed(r, d)
	if e.decide(r, d).moved || granted || expired {
		r.Clock = max(r.Clock, d)
	}
	if expired {
		forgetUnknown(r)
	}
}

// takeGrants puts the grants effective at d in force, and the birthdays, and
// marks the segments of purposes that become known. It reports whether there
// were any.
func (e *Engine) takeGrants(r *subject.Record, d subject.Instant) bool {
	granted, any := false, false
	for i := range r.Purposes {
		p := &r.Purposes[i]
		if e.pending(p, r.Clock) != d {
			continue
		}
		any = true
		begun := subject.ByAge
		if consent.Pending(&p.Basis, r.Clock) == d {
			granted, begun = true, subject.ByGiven
		}
		if pi, ok := e.set.PurposeIndex(p.Key); ok {
			e.settle(p, pi, settling{d, subject.ByExpired, subject.ByGiven, begun})
		}
	}
	if granted {
		e.openFor(r, d, subject.ByGiven)
	}
	return any
}

// expire ends the purposes whose basis no longer holds at d.
func (e *Engine) expire(r *subject.Record, d subject.Instant) bool {
	any := false
	for i := range r.Purposes {
		p := &r.Purposes[i]
		if !p.Basis.Known || p.Basis.Until > d {
			continue
		}
		any = true
		if pi, ok := e.set.PurposeIndex(p.Key); ok {
			e.settle(p, pi, settling{d, subject.ByExpired, subject.ByGiven, subject.ByGiven})
		}
	}
	return any
}
