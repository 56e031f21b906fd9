package core

import (
	"slices"

	"github.com/segmentd/segmentd/processor/consent"
	"github.com/segmentd/segmentd/state/subject"
)

// Decide applies a decision to the record of its subject. reached is the
// partition's clock: a grant ahead of both it and the subject's clock is kept
// until one of them reaches it, one with an old date until the subject's clock
// does or it has waited for older inputs (await); a stop is in force at once,
// whatever its date. A decision without a purpose counts for every purpose of
// the rule set. It reports whether the record must be saved. The purpose must be
// declared.
func (e *Engine) Decide(r *subject.Record, d subject.Decision, reached subject.Instant) (changed bool) {
	e.index(r)
	for i := range e.set.Purposes {
		if key := e.set.Purposes[i].Key; d.Purpose == "" || d.Purpose == key {
			changed = e.take(r, i, d) || changed
		}
	}
	if !changed {
		return false
	}
	dated := d.Time.Add(settle) // read ahead of events, one in step must hold none of what is due before it
	switch at := d.Effective(); {
	case d.Status.Stops():
		e.exits = at
		why := subject.ReasonOfStop(d.Status)
		e.settleFor(r, d, settling{r.Clock, why, why, subject.ByGiven})
	case at > r.Clock && (at > reached || isOld(dated, d.Arrival)):
		// Pending: rearm keeps its instant.
	case at > r.Clock:
		e.advance(r, at, false)
	default:
		e.openFor(r, r.Clock, subject.ByGiven)
		e.settleFor(r, d, settling{r.Clock, subject.ByExpired, subject.ByGiven, subject.ByGiven})
	}
	if !d.Status.Stops() {
		await(r, dated, d.Arrival)
	}
	e.rearm(r)
	return true
}

// take keeps a decision about a purpose, and reports whether it changes anything.
func (e *Engine) take(r *subject.Record, purpose int, d subject.Decision) bool {
	p := r.EnsurePurpose(e.set.Purposes[purpose].Key)
	p.Indexed = true
	if consent.Take(&p.Basis, e.policies[purpose], d) {
		return true
	}
	r.Purposes = slices.DeleteFunc(r.Purposes, saysNothing)
	return false
}

// settleFor brings the purposes that a decision is about to how they stand at an
// instant that the clock has reached, and decides what follows from that in one
// pass. What ends there by itself is left to its timer.
func (e *Engine) settleFor(r *subject.Record, d subject.Decision, s settling) {
	for i := range r.Purposes {
		p := &r.Purposes[i]
		if d.Purpose != "" && d.Purpose != p.Key {
			continue
		}
		if pi, ok := e.set.PurposeIndex(p.Key); ok {
			e.settle(p, pi, s)
		}
	}
	e.decide(r, s.at)
	forgetUnknown(r)
}

// forgetUnknown forgets the message ids of a subject that no purpose knows any
// more: nothing of its behaviour is kept.
func forgetUnknown(r *subject.Record) {
	for i := range r.Purposes {
		if p := &r.Purposes[i]; p.Basis.Known || len(p.Traits) > 0 { // a birthdate
			return
		}
	}
	r.Messages = nil
}

// settling says as of when bases are settled, and the reasons of what follows.
type settling struct {
	at      subject.Instant
	ended   subject.Reason // of exits where the basis holds no longer
	shorter subject.Reason // of what a period that begins later changes
	begun   subject.Reason // of entries where the basis begins to hold
}

// settle brings a purpose's basis to how it stands at an instant, and marks
// what follows: a basis that no longer holds exits every segment of the purpose
// and deletes what was kept for it; one that begins to hold has its segments
// decided; one whose period begins later deletes what is older.
func (e *Engine) settle(p *subject.Purpose, purpose int, s settling) {
	was, since := p.Basis.Known, p.Basis.Since
	e.settleBasis(p, purpose, s.at)
	switch {
	case was && !p.Basis.Known:
		e.forget(p, purpose)
		e.markMembers(p, s.ended)
	case !was && p.Basis.Known:
		e.markPurpose(purpose, s.begun)
	case was && p.Basis.Since > since:
		e.dropBefore(p, purpose)
		e.markPurpose(purpose, s.shorter)
	}
}

// forget deletes what was kept for a purpose, all but its decisions, the
// birthdate where the basis itself still holds, and the memberships that the
// next pass leaves.
func (e *Engine) forget(p *subject.Purpose, purpose int) {
	e.forgot = true
	p.Leaves, p.Armed = nil, nil
	p.Traits = slices.DeleteFunc(p.Traits, func(t subject.Trait) bool { return !e.isBirthdate(purpose, t.Key) })
}

// dropBefore deletes evidence and traits older than the start of the period; of
// the birthdate settleBasis takes care.
func (e *Engine) dropBefore(p *subject.Purpose, purpose int) {
	e.forgot = true
	since := p.Basis.Since
	dropLeavesBefore(p, since)
	p.Traits = slices.DeleteFunc(p.Traits, func(t subject.Trait) bool { return t.Time < since && !e.isBirthdate(purpose, t.Key) })
}

// dropLeavesBefore deletes evidence older than an instant.
func dropLeavesBefore(p *subject.Purpose, since subject.Instant) {
	for i := range p.Leaves {
		l := &p.Leaves[i]
		n, _ := slices.BinarySearch(l.Times, since)
		l.Times = slices.Delete(l.Times, 0, n)
		if l.Values != nil {
			l.Values = slices.Delete(l.Values, 0, n)
		}
	}
	p.Leaves = slices.DeleteFunc(p.Leaves, func(l subject.Leaf) bool { return len(l.Times) == 0 })
}
