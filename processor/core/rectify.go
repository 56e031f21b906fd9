package core

import (
	"cmp"
	"slices"

	"github.com/segmentd/segmentd/state/subject"
)

// maxCorrections bounds the rectified traits that wait for the clock.
const maxCorrections = 64

// rectify sets traits right: as an identify of that instant would, for every
// purpose whose basis holds then, but it opens none, asks for no consent of its own, and wins over an
// identify of the same instant.
func (e *Engine) rectify(r *subject.Record, q *subject.Request, reached subject.Instant) (changed bool) {
	at := q.Effective()
	if len(q.Traits) == 0 || r.Erased != 0 && at <= r.Erased {
		return false
	}
	dated := q.Time.Add(settle)
	if at <= r.Clock || at <= reached && !isOld(dated, q.Arrival) {
		return e.correct(r, q.Traits, at)
	}
	if changed = addCorrections(r, q.Traits, at); changed {
		await(r, dated, q.Arrival)
	}
	return changed
}

// addCorrections keeps rectified traits until the clock reaches them. A subject that
// was erased has to come back first.
func addCorrections(r *subject.Record, traits []subject.TraitUpdate, at subject.Instant) (changed bool) {
	if r.IsFence() {
		return false
	}
	for _, t := range traits {
		c := subject.Trait{Key: t.Key, Time: at, Value: t.Value}
		i, found := slices.BinarySearchFunc(r.Corrections, c, func(a, b subject.Trait) int {
			return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(a.Key, b.Key))
		})
		if found {
			continue
		}
		r.Corrections, changed = slices.Insert(r.Corrections, i, c), true
	}
	r.Corrections = slices.Delete(r.Corrections, 0, max(0, len(r.Corrections)-maxCorrections))
	return changed
}

// nextCorrection is the instant of the earliest rectification that waits; Never.
func nextCorrection(r *subject.Record) subject.Instant {
	if len(r.Corrections) == 0 {
		return subject.Never
	}
	return r.Corrections[0].Time
}

// takeCorrections removes and returns the rectified traits of an instant.
func takeCorrections(r *subject.Record, at subject.Instant) (traits []subject.TraitUpdate) {
	for len(r.Corrections) > 0 && r.Corrections[0].Time <= at {
		traits = append(traits, subject.TraitUpdate{Key: r.Corrections[0].Key, Value: r.Corrections[0].Value})
		r.Corrections = slices.Delete(r.Corrections, 0, 1)
	}
	return traits
}

// correct sets rectified traits and decides what follows. It reports whether that
// changed anything.
func (e *Engine) correct(r *subject.Record, traits []subject.TraitUpdate, at subject.Instant) (changed bool) {
	admits, cause := slices.Clone(e.admits), e.cause // of an event that is about to be applied
	defer func() { e.admits, e.cause = admits, cause }()
	e.cause = nil
	ev := subject.Event{Subject: r.ID, Identify: true, Time: at, Arrival: subject.Never, Traits: traits}
	if e.judge(r, &ev) != subject.Admitted {
		return false
	}
	was := r.Clock
	e.advance(r, max(r.Clock, at), true)
	e.rectifies = true
	defer func() { e.rectifies = false }()
	born := e.ripen(r, at)
	r.Clock = max(r.Clock, at)
	kept, _ := e.setTraits(r, &ev)
	if !kept && !born && r.Clock == was {
		return false
	}
	if born {
		e.marks.spread(e.set.Segments)
	}
	e.markArmed(r, r.Clock)
	e.decide(r, r.Clock)
	return true
}
