package core

import (
	"slices"

	"github.com/segmentd/segmentd/processor/consent"
	"github.com/segmentd/segmentd/state/subject"
)

// Where a purpose has a minimum age, its basis holding is not enough: a subject
// is known from the later of the two on, and the birthdate alone is kept before.

// basisAt is how the basis stands at an instant, whatever the age. One that
// needs no consent counts as holding from the first input, which is what asks.
func (e *Engine) basisAt(p *subject.Purpose, purpose int, at subject.Instant) consent.Standing {
	if e.set.Purposes[purpose].MinAge > 0 && !e.policies[purpose].NeedsConsent && p.Basis.Stop.Status == subject.NoDecision {
		return consent.Standing{Known: true, Since: subject.LongAgo, Until: subject.Never}
	}
	return consent.At(&p.Basis, e.policies[purpose], at)
}

// settleBasis brings the basis, and with it whether the subject is known, to
// how they stand at an instant. A birthdate that the basis no longer covers is
// deleted.
func (e *Engine) settleBasis(p *subject.Purpose, purpose int, at subject.Instant) {
	consent.Settle(&p.Basis, e.policies[purpose], at)
	if e.set.Purposes[purpose].MinAge == 0 {
		return
	}
	basis := e.basisAt(p, purpose, at)
	p.Traits = slices.DeleteFunc(p.Traits, func(t subject.Trait) bool {
		return e.isBirthdate(purpose, t.Key) && (!basis.Known || t.Time < basis.Since)
	})
	if !basis.Known {
		return
	}
	b := &p.Basis
	b.Known, b.Since, b.Until = true, basis.Since, basis.Until
	if turn := e.set.Purposes[purpose].ComesOfAge(p); turn <= at {
		b.Since = max(b.Since, turn)
	} else {
		b.Known, b.Since = false, 0 // until the basis ends, and with it what is kept of the birthdate
	}
}

// isBirthdate reports whether a trait is the birthdate of a purpose.
func (e *Engine) isBirthdate(purpose int, key string) bool {
	p := &e.set.Purposes[purpose]
	return p.MinAge > 0 && p.BirthdateTrait == key
}

// birthday returns the instant later than the clock at which a subject that is
// not known, though the basis holds, comes of age; or Never.
func (e *Engine) birthday(p *subject.Purpose, clock subject.Instant) subject.Instant {
	if p.Basis.Known {
		return subject.Never
	}
	i, ok := e.set.PurposeIndex(p.Key)
	if !ok || e.set.Purposes[i].MinAge == 0 || !e.basisAt(p, i, clock).Known {
		return subject.Never
	}
	if turn := e.set.Purposes[i].ComesOfAge(p); turn > clock {
		return turn
	}
	return subject.Never
}

// ripen lets an input at an instant find those of age whose birthday it is, and
// marks what they enter by that. It reports whether there were any. To be called
// before the clock moves there.
func (e *Engine) ripen(r *subject.Record, at subject.Instant) (born bool) {
	for i := range r.Purposes {
		p := &r.Purposes[i]
		if e.birthday(p, r.Clock) != at {
			continue
		}
		if pi, ok := e.set.PurposeIndex(p.Key); ok {
			e.settle(p, pi, settling{at, subject.ByExpired, subject.ByAge, subject.ByAge})
			born = true
		}
	}
	return born
}

// birthdateOf returns the birthdate among an identify's traits.
func (e *Engine) birthdateOf(ev *subject.Event, purpose int) (subject.TraitUpdate, bool) {
	if e.set.Purposes[purpose].MinAge > 0 {
		for _, t := range ev.Traits {
			if e.isBirthdate(purpose, t.Key) {
				return t, true
			}
		}
	}
	return subject.TraitUpdate{}, false
}

// judgeAge judges an event whose basis admits it by the subject's age.
func (e *Engine) judgeAge(p *subject.Purpose, purpose int, ev *subject.Event, at subject.Instant) subject.Outcome {
	if _, brings := e.birthdateOf(ev, purpose); brings {
		return subject.Admitted
	}
	switch turn := e.set.Purposes[purpose].ComesOfAge(p); {
	case turn > at:
		return subject.OutcomeUnderage
	case ev.Time < turn:
		return subject.OutcomeBeforePeriod
	}
	return subject.Admitted
}

// setBirthdate keeps the birthdate that an identify brings, which the basis
// alone admits, and settles what follows from it.
func (e *Engine) setBirthdate(r *subject.Record, purpose int, ev *subject.Event) (kept bool) {
	t, ok := e.birthdateOf(ev, purpose)
	if !ok {
		return false
	}
	p := r.EnsurePurpose(e.set.Purposes[purpose].Key)
	p.Indexed = true
	if !e.setTrait(p, t.Key, t.Value, ev.Time) {
		return false
	}
	e.settle(p, purpose, settling{r.Clock, subject.ByAge, e.traitReason(), e.traitReason()})
	e.markTrait(purpose, t.Key)
	return true
}
