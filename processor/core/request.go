package core

import (
	"slices"

	"github.com/segmentd/segmentd/processor/consent"
	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state/subject"
)

// Request applies what a data subject asks for to its record, new if nothing was
// kept. reached is the partition's clock: a lift or a rectification ahead of both
// it and the subject's clock is kept until one of them reaches it, one with an old
// date until the subject's clock does or it has waited for older inputs, as a grant
// is (Decide); erasure and restriction are in force at once, whatever their date.
// What requests do depends on the set of them and of the decisions, not on the
// order in which they are read, and one that is read again does nothing; but a
// rectification finds only purposes whose basis holds when it takes force. Access and
// portability do nothing. Request reports whether the record must be saved.
func (e *Engine) Request(r *subject.Record, q *subject.Request, reached subject.Instant) (changed bool) {
	e.index(r)
	switch q.Kind {
	case subject.Erase:
		changed = e.erase(r, q.Effective())
	case subject.Restrict:
		changed = e.restrict(r, q.Effective())
	case subject.Unrestrict:
		changed = e.lift(r, q, reached)
	case subject.Rectify:
		changed = e.rectify(r, q, reached)
	}
	if changed {
		e.rearm(r)
	}
	return changed
}

// erase forgets all of a subject that is dated up to an instant: every purpose is
// stopped as of it, and only what a newer grant opens is kept and decided again.
func (e *Engine) erase(r *subject.Record, at subject.Instant) (changed bool) {
	told, ok := beginErasure(r, at)
	if !ok {
		return false
	}
	e.forgot = true
	when := r.Clock
	e.leaveAll(r, when, subject.ByErased)
	if told {
		e.tellErased(r, when)
	}
	for i := range r.Purposes {
		p := &r.Purposes[i]
		consent.Erase(&p.Basis, r.Erased)
		if pi, ok := e.set.PurposeIndex(p.Key); ok {
			e.settle(p, pi, settling{when, subject.ByErased, subject.ByGiven, subject.ByGiven})
			if p.Basis.Known {
				e.markPurpose(pi, subject.ByGiven)
			}
		}
	}
	e.decide(r, when)
	forgetUnknown(r)
	return true
}

// beginErasure notes an erasure, unless a newer one is known, moves the clock to it,
// and deletes what is kept beside the purposes and dated up to it. told says that
// recipients have to hear of it: not where nothing was kept, nor ever published
// since the erasure before.
func beginErasure(r *subject.Record, at subject.Instant) (told, ok bool) {
	if at == 0 {
		at = 1 // 0 says that there was none
	}
	if r.Erased != 0 && at <= r.Erased {
		return false, false
	}
	told = slices.ContainsFunc(r.Purposes, saysSomething) || r.Version > 0 && r.Erased == 0
	r.Erased, r.Clock = at, max(r.Clock, at)
	r.Restrictions = slices.DeleteFunc(r.Restrictions, func(x subject.Restriction) bool { return x.At <= at })
	r.Corrections = slices.DeleteFunc(r.Corrections, func(c subject.Trait) bool { return c.Time <= at })
	r.Messages = slices.DeleteFunc(r.Messages, func(m subject.Message) bool { return m.At <= at })
	return told, true
}

// tellErased publishes the erasure to every changes topic of the rule set.
func (e *Engine) tellErased(r *subject.Record, at subject.Instant) {
	for _, output := range e.outputs {
		e.publish(r, subject.Change{Kind: subject.Erased, Time: at, Reason: subject.ByErased, Output: output, Routed: true})
	}
}

// outputsOf lists the outputs of a rule set's purposes, the default one first.
func outputsOf(set *rules.Set) []string {
	outputs := []string{""}
	for i := range set.Purposes {
		if o := set.Purposes[i].Output; !slices.Contains(outputs, o) {
			outputs = append(outputs, o)
		}
	}
	return outputs
}

// saysSomething reports whether anything of the subject is kept for a purpose.
func saysSomething(p subject.Purpose) bool {
	b := &p.Basis
	return b.Known || b.Stop.Status != subject.NoDecision || len(b.Grants) > 0 || len(p.Traits) > 0
}

// saysNothing reports whether nothing is kept for a purpose but that the subject
// was erased.
func saysNothing(p subject.Purpose) bool {
	return p.Basis.Stop.Status == subject.Forgotten && len(p.Basis.Grants) == 0
}

// shut makes a fence of the record of a subject that was erased where nothing newer is kept.
func shut(r *subject.Record) {
	if r.Erased == 0 {
		return
	}
	r.Purposes = slices.DeleteFunc(r.Purposes, saysNothing)
	if r.IsFence() {
		r.Held, r.Messages, r.Corrections, r.Shadow = subject.Held{}, nil, nil, nil
	}
}
