package core

import (
	"slices"

	"github.com/segmentd/segmentd/state/subject"
)

// Bounds of the search for the next change.
const (
	maxFirings      = 10_000 // of one segment: more than a year of hours
	maxFiringsOfAll = 30_000 // of all that an explainer explains
)

// horizon is how far the search goes: 100 Gregorian years, on average.
const horizon subject.Instant = 36_524.25 * subject.Day

// nextChange finds what becomes of a membership if nothing else happens, by
// firing the timers of the record as the machine would. It changes the record.
func (x *Explainer) nextChange(ex *Explanation, r *subject.Record, segment int, at subject.Instant) {
	concerned := x.concerned(segment)
	for n := 0; ; n++ {
		keepArmed(r, concerned)
		due, ok := x.engine.due(r, reach{to: subject.Never})
		switch {
		case !ok:
			if ex.Filling {
				ex.NextChangeNote = "not known before what the rule reads is filled"
			}
			return
		case due > at && !due.Valid():
			ex.NextChangeNote = "not known: nothing changes before the year 10000, and no more was looked at"
			return
		case due > at && due-at > horizon:
			ex.NextChangeNote = "not known: nothing changes in the next 100 years, and no more was looked at"
			return
		case n == maxFirings || x.firings == 0:
			ex.NextChangeNote = "not known: nothing changes before " + due.String() + ", and no more was looked at"
			return
		}
		x.firings--
		x.engine.Fire(r, subject.Never)
		ex.NextChange = firstChange(x.engine.Changes, ex.Segment)
		if x.engine.Changes = x.engine.Changes[:0]; ex.NextChange != nil {
			return
		}
	}
}

// concerned are the segments whose timers can change a segment's answer: itself
// and those it names, directly or through others.
func (x *Explainer) concerned(segment int) map[int]bool {
	concerned := map[int]bool{segment: true}
	for i := segment - 1; i >= 0; i-- { // those named come before
		if slices.ContainsFunc(x.set.Segments[i].Dependents, func(d int) bool { return concerned[d] }) {
			concerned[i] = true
		}
	}
	return concerned
}

// keepArmed disarms all other segments.
func keepArmed(r *subject.Record, concerned map[int]bool) {
	for i := range r.Purposes {
		p := &r.Purposes[i]
		p.Armed = slices.DeleteFunc(p.Armed, func(a subject.Armed) bool { return !concerned[int(a.Segment)] })
	}
}

func firstChange(changes []subject.Change, segment string) *NextChange {
	for i := range changes {
		if c := &changes[i]; c.Segment == segment {
			return &NextChange{At: c.Time.String(), Change: c.Kind.String(), Reason: c.Reason.String()}
		}
	}
	return nil
}
