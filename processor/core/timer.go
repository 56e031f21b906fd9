package core

import (
	"github.com/segmentd/segmentd/processor/consent"
	"github.com/segmentd/segmentd/state/subject"
)

// Fire applies what is due of the record at the earliest instant, given the
// partition's clock: flips, expiries and birthdays strictly before it, grants
// and requests up to it. It reports whether the record must be saved: false if nothing was due,
// or the candidate turned out to flip nothing and the next one is already past.
func (e *Engine) Fire(r *subject.Record, clock subject.Instant) (changed bool) {
	e.index(r)
	if clock > r.Held.Until {
		r.Held = subject.Held{}
	}
	d, ok := e.due(r, reach{to: clock})
	if ok {
		e.fireAt(r, d, firing{past: d < clock})
	}
	e.rearm(r)
	return ok
}

// advance applies everything of the subject that comes before an input at the
// instant to, each at its own instant: flips, expiries and birthdays before it,
// grants and requests up to it, and with expiry also the expiries at it. It reports
// whether there was anything.
func (e *Engine) advance(r *subject.Record, to subject.Instant, expiry bool) (fired bool) {
	for ; ; fired = true {
		d, ok := e.due(r, reach{to: to, expiry: expiry})
		if !ok {
			return fired
		}
		e.fireAt(r, d, firing{past: d < to, expiry: expiry && d == to})
	}
}

// reach says what is due by an instant: all before it, grants and requests at it, and with
// expiry also the ends of bases at it.
type reach struct {
	to     subject.Instant
	expiry bool
}

// by reports whether an instant is reached.
func (c reach) by(at subject.Instant, too bool) bool { return at < c.to || too && at == c.to }

// due returns the earliest instant at which something of the subject is due.
func (e *Engine) due(r *subject.Record, c reach) (subject.Instant, bool) {
	grant, birthday, end, flip := subject.Never, subject.Never, subject.Never, subject.Never
	restricted := e.restricted(r, r.Clock)
	for i := range r.Purposes {
		p := &r.Purposes[i]
		grant = min(grant, consent.Pending(&p.Basis, r.Clock))
		birthday = min(birthday, e.birthday(p, r.Clock))
		end = min(end, p.Basis.Until)
		if !p.Basis.Known || restricted {
			continue
		}
		for _, a := range p.Armed {
			flip = min(flip, a.At)
		}
	}
	asked := min(e.turn(r), nextCorrection(r))
	d := subject.Never
	if c.by(asked, true) {
		d = asked
	}
	if c.by(flip, false) {
		d = min(d, flip)
	}
	if c.by(end, c.expiry) {
		d = min(d, end)
	}
	if c.by(birthday, false) {
		d = min(d, birthday)
	}
	if c.by(grant, true) {
		d = min(d, grant)
	}
	return d, d != subject.Never
}

// firing says how an instant stands to what asks for it.
type firing struct {
	past   bool // the instant is over
	expiry bool // bases end at it all the same
}

// fireAt applies what is due at the instant d: rectifications, which are inputs; or ends of restrictions, grants and birthdays, then
// expiries (those at a grant's own instant only if that is asked for: a renewal
// at that instant may still come), then one pass over what may flip. The
// subject's clock moves only if something took effect.
func (e *Engine) fireAt(r *subject.Record, d subject.Instant, f firing) {
	if traits := takeCorrections(r, d); traits != nil {
		e.correct(r, traits, d)
		return // what else is due at the instant comes with it, or after it
	}
	crossed := e.cross(r, d)
	granted, born := e.takeGrants(r, d)
	expired := false
	if f.expiry || f.past && !granted {
		expired = e.expire(r, d)
	}
	if !f.expiry { // else an input at this instant is to come, and flips wait for it
		e.markArmed(r, d)
	}
	if e.decide(r, d).moved || crossed || granted || born || expired {
		r.Clock = max(r.Clock, d)
	}
	if expired {
		forgetUnknown(r)
	}
}

// takeGrants puts the grants effective at d in force, and the birthdays, and
// marks the segments of purposes that become known. It reports whether there
// were any of either.
func (e *Engine) takeGrants(r *subject.Record, d subject.Instant) (granted, born bool) {
	for i := range r.Purposes {
		p := &r.Purposes[i]
		begun := subject.ByGiven
		switch d {
		case consent.Pending(&p.Basis, r.Clock):
			granted = true
		case e.birthday(p, r.Clock):
			born, begun = true, subject.ByAge
		default:
			continue
		}
		if pi, ok := e.set.PurposeIndex(p.Key); ok {
			e.settle(p, pi, settling{d, subject.ByExpired, subject.ByGiven, begun})
		}
	}
	if granted {
		e.openFor(r, d, subject.ByGiven)
	}
	return granted, born
}

// expire ends the purposes whose basis no longer holds at d.
func (e *Engine) expire(r *subject.Record, d subject.Instant) bool {
	any := false
	for i := range r.Purposes {
		p := &r.Purposes[i]
		if p.Basis.Until > d {
			continue
		}
		any = true
		if pi, ok := e.set.PurposeIndex(p.Key); ok {
			e.settle(p, pi, settling{d, subject.ByExpired, subject.ByGiven, subject.ByGiven})
		}
	}
	return any
}
