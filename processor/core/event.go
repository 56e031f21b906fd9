package core

import (
	"slices"
	"strings"

	"github.com/segmentd/segmentd/processor/consent"
	"github.com/segmentd/segmentd/state/subject"
)

// maxMessages bounds the message ids remembered of one subject (rules/README.md, Time).
const maxMessages = 64

// Concerns reports whether any rule reads the event, or the event may make its
// subject known; all others are unused and need no record.
func (e *Engine) Concerns(ev *subject.Event) bool {
	if e.opensAny {
		return true
	}
	if ev.Identify {
		return len(ev.Traits) > 0
	}
	return e.set.Reads(ev.Name)
}

// Event applies a behaviour event or a trait update and says what became of
// it. r is the subject's record, new if nothing was kept; changed reports
// whether it must be saved. An event that is not admitted for any purpose
// changes nothing.
func (e *Engine) Event(r *subject.Record, ev *subject.Event) (out subject.Outcome, changed bool) {
	e.cause = ev
	defer func() { e.cause = nil }()
	if e.excludes(r, ev) {
		return e.restrictedOutcome(ev), false
	}
	opened, fired := e.openBases(r, ev)
	out = e.judge(r, ev)
	if out == subject.Admitted && e.isDuplicate(r, ev) {
		out = subject.OutcomeDuplicate
	}
	if out == subject.Admitted {
		return e.apply(r, ev), true
	}
	if opened {
		e.ripen(r, ev.Time)
		r.Clock = max(r.Clock, ev.Time)
		e.markArmed(r, r.Clock)
		e.decide(r, r.Clock)
		await(r, ev.Time, ev.Arrival)
	}
	if opened || fired {
		e.rearm(r)
	}
	return out, opened || fired
}

// restrictedOutcome is what becomes of an event of a subject that is restricted,
// whatever its purposes say.
func (e *Engine) restrictedOutcome(ev *subject.Event) subject.Outcome {
	for i := range e.set.Purposes {
		if e.reads(i, ev) {
			return subject.OutcomeRestricted
		}
	}
	return subject.OutcomeUnused
}

// openBases makes the subject known for the purposes that need no consent, if
// this is its first input, and marks their segments. fired says that something was due
// before, which may have opened them.
func (e *Engine) openBases(r *subject.Record, ev *subject.Event) (opened, fired bool) {
	if !e.opensAny || !e.mayOpen(r) {
		return false, false
	}
	e.index(r)
	fired = e.advance(r, max(r.Clock, ev.Time), true)
	why := subject.ByEvent
	if ev.Identify {
		why = subject.ByTrait
	}
	return e.openFor(r, max(r.Clock, ev.Time), why), fired
}

func (e *Engine) mayOpen(r *subject.Record) bool {
	for i := range e.opens {
		if e.opens[i] && e.closed(r, i) {
			return true
		}
	}
	return false
}

// openFor opens what an input of the subject opens, and marks it. A stop opens
// nothing: who says no is not to be profiled for saying it.
func (e *Engine) openFor(r *subject.Record, at subject.Instant, why subject.Reason) bool {
	opened := false
	for i := range e.opens {
		if !e.opens[i] || !e.closed(r, i) {
			continue
		}
		p := r.EnsurePurpose(e.set.Purposes[i].Key)
		p.Indexed = true
		e.open(p, i, at)
		if p.Basis.Known {
			e.markPurpose(i, why)
		}
		opened = true
	}
	return opened
}

// closed reports whether nothing is known of the subject for a purpose: its
// basis neither holds nor was ever decided about, and it was not erased.
func (e *Engine) closed(r *subject.Record, purpose int) bool {
	p := e.stateOf(r, purpose)
	if p == nil {
		return r.Erased == 0
	}
	b := &p.Basis
	return !b.Known && b.Stop.Status == subject.NoDecision && (len(b.Grants) == 0 || !e.policies[purpose].NeedsConsent)
}

// open makes the basis of a purpose hold: without consent, or by the consent
// that a replay assumes.
func (e *Engine) open(p *subject.Purpose, purpose int, at subject.Instant) {
	if !e.policies[purpose].NeedsConsent {
		consent.Open(&p.Basis, e.policies[purpose])
		return
	}
	p.Basis.Grants = []subject.Grant{{At: subject.LongAgo, Expires: subject.Never}}
	e.settleBasis(p, purpose, at)
}

// judge finds the purposes that admit the event (into e.admits). The outcome is
// Admitted if one does, else the first reader's reason, else unused.
func (e *Engine) judge(r *subject.Record, ev *subject.Event) subject.Outcome {
	clear(e.admits)
	out := subject.OutcomeUnused
	for i := range e.set.Purposes {
		if !e.reads(i, ev) {
			continue
		}
		o := e.judgePurpose(r, ev, i)
		e.admits[i] = o == subject.Admitted
		if out == subject.OutcomeUnused || o == subject.Admitted {
			out = o
		}
	}
	return out
}

// reads reports whether a rule of the purpose reads the event.
func (e *Engine) reads(purpose int, ev *subject.Event) bool {
	if !ev.Identify {
		return e.set.ReadFor(purpose, ev.Name)
	}
	for _, t := range ev.Traits {
		if e.set.Purposes[purpose].Traits.Child(t.Key) != nil {
			return true
		}
	}
	return false
}

func (e *Engine) judgePurpose(r *subject.Record, ev *subject.Event, purpose int) subject.Outcome {
	if !consent.Gated {
		return subject.Admitted
	}
	p := e.stateOf(r, purpose)
	if p == nil {
		switch p = &e.nobody; {
		case r.Erased != 0:
			return subject.OutcomeErased
		case e.policies[purpose].NeedsConsent:
			return subject.OutcomeNoDecision
		}
	}
	at := max(r.Clock, ev.Time)
	denied := len(ev.Denied) > 0 && slices.Contains(ev.Denied, strings.ToLower(e.set.Purposes[purpose].Key))
	out := consent.Judge(&p.Basis, e.basisAt(p, purpose, at), ev.Time, denied)
	if out == subject.Admitted && e.set.Purposes[purpose].MinAge > 0 {
		return e.judgeAge(p, purpose, ev, at)
	}
	return out
}

// isDuplicate reports whether the event's message id is remembered at the
// subject's clock as it was before the event.
func (e *Engine) isDuplicate(r *subject.Record, ev *subject.Event) bool {
	if ev.Message == 0 {
		return false
	}
	for i := len(r.Messages) - 1; i >= 0; i-- {
		m := r.Messages[i]
		if m.Hash == ev.Message {
			return r.Clock < m.At.Add(e.cfg.DedupeWindow)
		}
	}
	return false
}

// apply lets the admitted event in.
func (e *Engine) apply(r *subject.Record, ev *subject.Event) subject.Outcome {
	e.index(r)
	e.advance(r, max(r.Clock, ev.Time), true)
	born := e.ripen(r, ev.Time)
	late := ev.Time < r.Clock
	r.Clock = max(r.Clock, ev.Time)
	touched, used := false, true
	if ev.Identify {
		touched, used = e.setTraits(r, ev)
	} else {
		touched = e.insert(r, ev)
	}
	if born {
		e.marks.spread(e.set.Segments)
	}
	e.forgetMessages(r)
	if touched && ev.Message != 0 {
		e.remember(r, ev.Message)
	}
	e.markArmed(r, r.Clock)
	flipped := e.decide(r, r.Clock).flipped
	await(r, ev.Time, ev.Arrival)
	e.rearm(r)
	switch {
	case !used:
		return subject.OutcomeUnderage
	case late && flipped:
		return subject.OutcomeLateCorrected
	case late:
		return subject.OutcomeLateNoEffect
	}
	return subject.Admitted
}

// insert offers the event to the leaves of the purposes that admit it, and
// reports whether it is an event of any: then its id is remembered (rules/README.md,
// Time), even if nothing of it decides anything now.
func (e *Engine) insert(r *subject.Record, ev *subject.Event) (touched bool) {
	e.touched = e.set.Touched(ev, e.touched[:0])
	for _, l := range e.touched {
		if !e.admits[l.Purpose] {
			continue
		}
		p := e.stateOf(r, l.Purpose)
		if p == nil || !p.Basis.Known || e.hold.leaf(l) {
			continue
		}
		concerned, changed := l.Insert(p, ev, r.Clock, &e.view)
		touched = touched || concerned
		if !changed {
			continue
		}
		e.bound(p, l)
		for _, s := range l.Segments {
			e.marks.add(s, subject.ByEvent)
		}
	}
	return touched
}

// setTraits keeps the traits that the rules of each admitting purpose read. It
// reports whether any was kept, and whether more than a birthdate could be.
func (e *Engine) setTraits(r *subject.Record, ev *subject.Event) (kept, used bool) {
	for i := range e.set.Purposes {
		if !e.admits[i] {
			continue
		}
		kept = e.setBirthdate(r, i, ev) || kept
		p := e.stateOf(r, i)
		if p == nil || !p.Basis.Known || ev.Time < p.Basis.Since {
			continue
		}
		used = true
		for _, t := range ev.Traits {
			if !e.isBirthdate(i, t.Key) {
				kept = e.keepTrait(p, i, t, ev.Time) || kept
			}
		}
	}
	return kept, used
}

// keepTrait keeps what a purpose's rules read of a trait, unless a newer value
// is kept already, and marks the segments that read it.
func (e *Engine) keepTrait(p *subject.Purpose, purpose int, t subject.TraitUpdate, at subject.Instant) bool {
	node := e.set.Purposes[purpose].Traits.Child(t.Key)
	if node == nil || !e.setTrait(p, t.Key, node.Prune(t.Value), at) {
		return false
	}
	e.markTrait(purpose, t.Key)
	return true
}

// markTrait marks the segments of a purpose that read a trait.
func (e *Engine) markTrait(purpose int, key string) {
	for _, s := range e.set.TraitSegments(purpose, key) {
		e.marks.add(s, e.traitReason())
	}
}

// traitReason is the reason of what the traits being set bring about.
func (e *Engine) traitReason() subject.Reason {
	if e.rectifies {
		return subject.ByRectified
	}
	return subject.ByTrait
}

// setTrait keeps a trait unless a newer value is kept already. A rectified one is
// dated a microsecond later than it was asked for: it is right, whatever an identify
// of its instant says that comes before or after it.
func (e *Engine) setTrait(p *subject.Purpose, key string, v subject.Value, at subject.Instant) bool {
	if !e.rectifies {
		return setTrait(p, key, v, at)
	}
	for i := range p.Traits {
		if t := &p.Traits[i]; t.Key == key && t.Time > at {
			return false
		}
	}
	return setTrait(p, key, v, at+1)
}

// setTrait keeps a trait unless a newer value is kept already.
func setTrait(p *subject.Purpose, key string, v subject.Value, at subject.Instant) bool {
	i, found := slices.BinarySearchFunc(p.Traits, key, func(t subject.Trait, k string) int {
		switch {
		case t.Key < k:
			return -1
		case t.Key > k:
			return 1
		}
		return 0
	})
	if !found {
		p.Traits = slices.Insert(p.Traits, i, subject.Trait{Key: key, Time: at, Value: v})
		return true
	}
	if p.Traits[i].Time > at {
		return false
	}
	p.Traits[i].Time, p.Traits[i].Value = at, v
	return true
}

// remember keeps a message id, the newest maxMessages of them.
func (e *Engine) remember(r *subject.Record, hash uint64) {
	if len(r.Messages) >= maxMessages {
		r.Messages = slices.Delete(r.Messages, 0, len(r.Messages)-maxMessages+1)
		e.Counters.DedupeEvicted++
	}
	r.Messages = append(r.Messages, subject.Message{Hash: hash, At: r.Clock})
}

// forgetMessages drops the message ids whose time is over.
func (e *Engine) forgetMessages(r *subject.Record) {
	n := 0
	for n < len(r.Messages) && r.Clock >= r.Messages[n].At.Add(e.cfg.DedupeWindow) {
		n++
	}
	if n > 0 {
		r.Messages = slices.Delete(r.Messages, 0, n)
	}
}
