package core

import (
	"slices"

	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state/subject"
)

// maxRestrictions bounds the restrictions and lifts remembered of one subject.
const maxRestrictions = 16

// addRestriction notes a restriction or a lift, and reports whether it was not
// known and matters.
func addRestriction(r *subject.Record, x subject.Restriction) bool {
	if r.Erased != 0 && x.At <= r.Erased {
		return false
	}
	i, found := slices.BinarySearchFunc(r.Restrictions, x, func(a, b subject.Restriction) int {
		switch {
		case a.Before(b):
			return -1
		case b.Before(a):
			return 1
		}
		return 0
	})
	if found {
		return false
	}
	r.Restrictions = slices.Insert(r.Restrictions, i, x)
	for len(r.Restrictions) > maxRestrictions {
		forgetRestriction(r)
	}
	return true
}

// forgetRestriction makes room so that rather more time is restricted than less:
// the oldest lift goes, with the restriction after it, so that what was two
// restricted times is one; where nothing was lifted, the oldest but the first.
func forgetRestriction(r *subject.Record) {
	i := slices.IndexFunc(r.Restrictions, func(x subject.Restriction) bool { return x.Lifted })
	switch {
	case i < 0:
		r.Restrictions = slices.Delete(r.Restrictions, 1, 2)
	case i > 0 && i+1 < len(r.Restrictions) && !r.Restrictions[i+1].Lifted:
		r.Restrictions = slices.Delete(r.Restrictions, i, i+2)
	default:
		r.Restrictions = slices.Delete(r.Restrictions, i, i+1)
	}
}

// restrictedAt reports whether processing is restricted at an instant by the
// dates alone: the newest of the restrictions and lifts at or before it is no lift.
func restrictedAt(r *subject.Record, at subject.Instant) bool {
	restricted := false
	for _, x := range r.Restrictions {
		if x.At > at {
			break
		}
		restricted = !x.Lifted
	}
	return restricted
}

// restricted reports whether processing is restricted when the subject's clock
// stands at an instant. As a stop, a restriction holds from when it is read: also
// one ahead of the clock does, unless only the dates count.
func (e *Engine) restricted(r *subject.Record, clock subject.Instant) bool {
	if len(r.Restrictions) == 0 {
		return false
	}
	if e.byDate {
		return restrictedAt(r, clock)
	}
	restricted := false
	for _, x := range r.Restrictions {
		switch {
		case !x.Lifted:
			restricted = true
		case x.At <= clock:
			restricted = false
		}
	}
	return restricted
}

// restriction returns when what restricts processing at an instant was asked for, and
// when it ends as far as is known: Never, Never where nothing does.
func (e *Engine) restriction(r *subject.Record, at subject.Instant) (since, until subject.Instant) {
	since, until = subject.Never, subject.Never
	if !e.restricted(r, at) {
		return since, until
	}
	for _, x := range r.Restrictions {
		switch {
		case !x.Lifted:
			since = min(since, x.At)
		case x.At <= at:
			since = subject.Never
		}
		if x.At > at && until == subject.Never && !e.restricted(r, x.At) {
			until = x.At
		}
	}
	return since, until
}

// excludes reports whether an event may not be used because its subject is
// restricted: when it is applied, or at its own date.
func (e *Engine) excludes(r *subject.Record, ev *subject.Event) bool {
	return len(r.Restrictions) > 0 && (restrictedAt(r, ev.Time) || e.restricted(r, max(r.Clock, ev.Time)))
}

// turn returns the next instant after the clock at which processing begins or
// ceases to be restricted by itself; Never. A fence, whose id is not stored, waits
// for nothing.
func (e *Engine) turn(r *subject.Record) subject.Instant {
	if len(r.Restrictions) == 0 || r.IsFence() {
		return subject.Never
	}
	is := e.restricted(r, r.Clock)
	for _, x := range r.Restrictions {
		if x.At > r.Clock && e.restricted(r, x.At) != is {
			return x.At
		}
	}
	return subject.Never
}

// restrict takes in a restriction: every membership ends, and nothing is decided
// any more.
func (e *Engine) restrict(r *subject.Record, at subject.Instant) (changed bool) {
	was := e.restricted(r, r.Clock)
	if !addRestriction(r, subject.Restriction{At: at}) {
		return false
	}
	if !was && e.restricted(r, r.Clock) {
		e.suspend(r, max(r.Clock, at))
	}
	return true
}

// suspend leaves every segment and forgets what answers have left behind: what
// was held, and cool-downs. Evidence and traits stay as they are.
func (e *Engine) suspend(r *subject.Record, at subject.Instant) {
	e.leaveAll(r, at, subject.ByRestricted)
	for i := range r.Purposes {
		r.Purposes[i].Armed, r.Purposes[i].Indexed = nil, true
	}
	forgetAnswers(r, e.set)
}

// forgetAnswers forgets what was held by the rules of a set, and cool-downs.
func forgetAnswers(r *subject.Record, set *rules.Set) {
	for i := range r.Purposes {
		p := &r.Purposes[i]
		p.Leaves = slices.DeleteFunc(p.Leaves, func(l subject.Leaf) bool {
			leaf := set.LeafByKey(l.Key)
			return leaf != nil && leaf.Remembers()
		})
	}
}

// leaveAll leaves every segment of every purpose, without waiting for any dwell.
func (e *Engine) leaveAll(r *subject.Record, at subject.Instant, why subject.Reason) {
	for i := range r.Purposes {
		e.markMembers(&r.Purposes[i], why)
	}
	e.view.Subject, e.view.At = r.ID, at
	for i := e.marks.next(); i >= 0; i = e.marks.next() {
		s := &e.set.Segments[i]
		if p := e.stateOf(r, s.Purpose); p != nil {
			e.exit(r, p, s, why)
		}
	}
}

// lift takes in the end of a restriction. It takes force as a grant does.
func (e *Engine) lift(r *subject.Record, q *subject.Request, reached subject.Instant) (changed bool) {
	at, was := q.Effective(), e.restricted(r, r.Clock)
	if !addRestriction(r, subject.Restriction{At: at, Lifted: true}) {
		return false
	}
	dated := q.Time.Add(settle)
	switch {
	case at > r.Clock && (at > reached || isOld(dated, q.Arrival)):
		// Pending: rearm keeps its instant.
	case at > r.Clock:
		e.advance(r, at, false)
		if r.IsFence() && was && !e.restricted(r, at) {
			r.Clock = at
		}
	case was && !e.restricted(r, r.Clock):
		e.resume(r, subject.ByUnrestricted)
		e.decide(r, r.Clock)
	}
	await(r, dated, q.Arrival)
	return true
}

// resume marks all that is known of a subject that is no longer restricted.
func (e *Engine) resume(r *subject.Record, why subject.Reason) {
	for i := range r.Purposes {
		if pi, ok := e.set.PurposeIndex(r.Purposes[i].Key); ok && r.Purposes[i].Basis.Known {
			e.markPurpose(pi, why)
		}
	}
}

// cross applies what begins and ceases to be restricted as the clock moves to an
// instant, and reports whether anything did.
func (e *Engine) cross(r *subject.Record, to subject.Instant) bool {
	was, is := e.restricted(r, r.Clock), e.restricted(r, to)
	switch {
	case was && !is:
		e.resume(r, subject.ByUnrestricted)
	case !was && is:
		e.suspend(r, to)
	}
	return was != is
}
