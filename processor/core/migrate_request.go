package core

import (
	"slices"

	"github.com/segmentd/segmentd/processor/consent"
	"github.com/segmentd/segmentd/state/subject"
)

// NoteRequest keeps a request of a subject whose record is to be migrated. Its
// memberships end at once if it is erased or restricted; what a lift or a
// rectification brings about Migrate decides. It reports whether the record must be saved.
func (m *Migration) NoteRequest(r *subject.Record, q *subject.Request) (changed bool) {
	at := q.Effective()
	switch q.Kind {
	case subject.Erase:
		return m.noteErasure(r, at)
	case subject.Restrict:
		was := m.engine.restricted(r, r.Clock)
		if !addRestriction(r, subject.Restriction{At: at}) {
			return false
		}
		if !was && m.engine.restricted(r, r.Clock) {
			m.leaveAll(r, max(r.Clock, at), subject.ByRestricted)
			m.forgetFormerAnswers(r)
		}
		return true
	case subject.Unrestrict:
		return addRestriction(r, subject.Restriction{At: at, Lifted: true})
	case subject.Rectify:
		return (r.Erased == 0 || at > r.Erased) && addCorrections(r, q.Traits, at)
	}
	return false
}

// noteErasure forgets all that is dated up to an erasure. What newer grants open
// Migrate decides.
func (m *Migration) noteErasure(r *subject.Record, at subject.Instant) bool {
	told, ok := beginErasure(r, at)
	if !ok {
		return false
	}
	m.leaveAll(r, r.Clock, subject.ByErased)
	if told {
		m.engine.tellErased(r, r.Clock)
	}
	for i := range r.Purposes {
		p := &r.Purposes[i]
		consent.Erase(&p.Basis, r.Erased)
		forgetOfPurpose(p, r.Erased)
	}
	if s := r.Shadow; s != nil { // decisions that were read again
		s.Erased = r.Erased
		for i := range s.Purposes {
			consent.Erase(&s.Purposes[i].Basis, r.Erased)
		}
		s.Purposes = slices.DeleteFunc(s.Purposes, saysNothing)
	}
	if r.Shadow == nil || len(r.Shadow.Purposes) == 0 {
		shut(r)
	}
	return true
}

// forgetOfPurpose deletes of a purpose all evidence and traits dated up to an
// erasure; where no grant is left, all.
func forgetOfPurpose(p *subject.Purpose, erased subject.Instant) {
	if len(p.Basis.Grants) == 0 {
		*p = subject.Purpose{Key: p.Key, Basis: subject.Basis{Until: subject.Never, Stop: p.Basis.Stop}}
		return
	}
	dropLeavesBefore(p, erased+1)
	p.Traits = slices.DeleteFunc(p.Traits, func(t subject.Trait) bool { return t.Time <= erased })
}

// leaveAll leaves every segment that the former rules or the new ones name.
func (m *Migration) leaveAll(r *subject.Record, at subject.Instant, why subject.Reason) {
	for _, n := range m.change.Removed {
		if p := r.Purpose(n.Purpose); p != nil {
			m.exit(r, p, n.ID, n.Key, subject.Change{Time: at, Reason: why, Output: n.Output, Routed: true})
		}
	}
	m.engine.leaveAll(r, at, why)
	for i := range r.Purposes {
		r.Purposes[i].Members, r.Purposes[i].Armed = nil, nil
	}
}

// forgetFormerAnswers forgets what was held under the former rules, and cool-downs.
func (m *Migration) forgetFormerAnswers(r *subject.Record) {
	if m.change.From != nil {
		forgetAnswers(r, m.change.From)
	}
}

// FillRequest applies a rectification read again from the start of the inputs to a
// record's shadow, before the events that are younger: traits that no rule read when
// it was made are filled as it says. It reports whether the record must be saved.
func (m *Migration) FillRequest(r *subject.Record, q *subject.Request, clock subject.Instant) (changed bool) {
	if q.Kind != subject.Rectify || r.IsFence() {
		return false
	}
	s := m.shadowOf(r)
	m.fire(s, clock)
	changed = m.shadow.Request(s, q, clock)
	m.discard()
	if changed {
		r.Shadow = s
		m.boundBoth(r)
	}
	return changed
}

// ShadowRequest applies a request, which the record has taken, to its shadow, if it
// has one. It reports whether the record must be saved.
func (m *Migration) ShadowRequest(r *subject.Record, q *subject.Request, clock subject.Instant) (changed bool) {
	if r.Shadow == nil {
		return false
	}
	changed = m.fire(r.Shadow, clock)
	changed = m.shadow.Request(r.Shadow, q, clock) || changed
	m.discard()
	return changed
}
