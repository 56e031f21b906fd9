package core

import (
	"cmp"
	"slices"

	"github.com/segmentd/segmentd/processor/consent"
	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state/subject"
)

// Fill steps a record's shadow by an event read again from the start of the
// inputs. clock is how far this reading has got: timers of the shadow before it
// fire first. A subject of which nothing is kept has an empty record. Fill
// reports whether the record must be saved.
func (m *Migration) Fill(r *subject.Record, ev *subject.Event, clock subject.Instant) (changed bool) {
	if !m.shadow.Concerns(ev) {
		return false
	}
	s := m.shadowOf(r)
	fired := m.fire(s, clock)
	_, changed = m.shadow.Event(s, ev)
	m.discard()
	if !changed && r.Shadow == nil {
		return false // it would begin as it is now at the next event, too
	}
	r.Shadow = s
	m.boundBoth(r)
	return changed || fired
}

// maxBothBytes bounds a record and its shadow together: they are one record of
// Kafka, whose batches may have 1 MiB (message.max.bytes).
const maxBothBytes = 900 << 10

// boundBoth lets the largest leaf of a shadow drop its older half where record
// and shadow together grow too large.
func (m *Migration) boundBoth(r *subject.Record) {
	for evidenceOf(r)+evidenceOf(r.Shadow) > maxBothBytes {
		purpose, leaf := largestLeaf(r.Shadow)
		if leaf == nil || len(leaf.Times) < 2 {
			return
		}
		half := len(leaf.Times) / 2
		leaf.Truncated, leaf.Times = true, slices.Delete(leaf.Times, 0, half)
		if leaf.Values != nil {
			leaf.Values = slices.Delete(leaf.Values, 0, half)
		}
		purpose.Armed, purpose.Indexed = nil, false
	}
}

// evidenceOf estimates the bytes of a record's evidence, of large leaves only.
func evidenceOf(r *subject.Record) (n int) {
	for i := range r.Purposes {
		for j := range r.Purposes[i].Leaves {
			if l := &r.Purposes[i].Leaves[j]; len(l.Times) >= checkFromLen || hasLargeValue(l) {
				n += sizeOf(l)
			}
		}
	}
	return n
}

func largestLeaf(r *subject.Record) (of *subject.Purpose, largest *subject.Leaf) {
	most := 0
	for i := range r.Purposes {
		for j := range r.Purposes[i].Leaves {
			if l := &r.Purposes[i].Leaves[j]; sizeOf(l) > most {
				of, largest, most = &r.Purposes[i], l, sizeOf(l)
			}
		}
	}
	return of, largest
}

// Shadow applies a decision, which the record has taken, to its shadow, if it has
// one. It reports whether the record must be saved.
func (m *Migration) Shadow(r *subject.Record, d subject.Decision, clock subject.Instant) (changed bool) {
	if r.Shadow == nil {
		return false
	}
	changed = m.fire(r.Shadow, clock)
	changed = m.shadow.Decide(r.Shadow, d, clock) || changed
	m.discard()
	return changed
}

// shadowOf returns the record's shadow, or a new one: nothing is known yet but
// what the subject has decided and asked for.
func (m *Migration) shadowOf(r *subject.Record) *subject.Record {
	if r.Shadow != nil {
		return r.Shadow
	}
	s := subject.NewRecord(r.ID)
	s.Erased, s.Restrictions = r.Erased, slices.Clone(r.Restrictions)
	for i := range r.Purposes {
		if _, ok := m.change.To.PurposeIndex(r.Purposes[i].Key); ok {
			b := &r.Purposes[i].Basis
			s.EnsurePurpose(r.Purposes[i].Key).Basis = subject.Basis{Until: subject.Never, Stop: b.Stop, Grants: slices.Clone(b.Grants)}
		}
	}
	m.shadow.rearm(s)
	return s
}

// fire applies all that is due of a shadow, given a clock.
func (m *Migration) fire(s *subject.Record, clock subject.Instant) (changed bool) {
	for s.Due() < clock && m.shadow.Fire(s, clock) {
		changed = true
	}
	m.discard()
	return changed
}

func (m *Migration) discard() { m.shadow.Changes = m.shadow.Changes[:0] }

// TakeOver ends a record's shadow, which has seen every input that the record
// has: what was missing is taken from it, and the segments that were filled are
// decided. It reports whether the record must be saved.
func (m *Migration) TakeOver(r *subject.Record, clock subject.Instant) (changed bool) {
	e := m.engine
	next, version, was, messages, had := r.Next, r.Version, r.Clock, len(r.Messages), r.Shadow != nil
	s := m.shadowOf(r)
	m.fire(s, clock)
	m.reach(s, max(r.Clock, clock))
	r.Shadow = nil
	m.Hold()
	e.index(r)
	if s.Clock > r.Clock {
		e.advance(r, s.Clock, true)
		r.Clock = max(r.Clock, s.Clock)
		e.markArmed(r, r.Clock)
		e.decide(r, r.Clock)
	}
	for i := range m.purposes {
		changed = m.take(r, s, i) || changed
	}
	r.Messages = mergeMessages(r.Messages, s.Messages)
	m.engine.hold = &hold{answers: m.stuck(s)}
	changed = m.decide(r, max(r.Clock, clock), func(p *migratedPurpose) []int { return p.filled }, subject.ByBackfill) || changed
	m.Release()
	if e.restricted(r, r.Clock) {
		forgetAnswers(r, m.change.To)
	} else {
		m.stick(r, s)
	}
	forgetUnknown(r)
	e.rearm(r)
	return changed || had || r.Next != next || r.Version != version || r.Clock != was || len(r.Messages) != messages
}

// reach decides all of a shadow that may flip by an instant as of it, as its
// record will be.
func (m *Migration) reach(s *subject.Record, at subject.Instant) {
	e := m.shadow
	e.index(s)
	if at > s.Clock {
		e.advance(s, at, true)
		e.markArmed(s, at)
		e.decide(s, at)
		e.rearm(s)
	}
	m.discard()
}

// stick lets what the answers of such segments run from, memberships and exits,
// be what it is in the shadow, so that dwells and cool-downs end as if the rules
// had always been there.
func (m *Migration) stick(r, s *subject.Record) {
	for i := range m.purposes {
		p, from := r.Purpose(m.change.To.Purposes[i].Key), s.Purpose(m.change.To.Purposes[i].Key)
		if p == nil || from == nil || !p.Basis.Known || !from.Basis.Known {
			continue
		}
		for _, at := range m.purposes[i].filled {
			seg := &m.change.To.Segments[at]
			if !seg.Sticky() {
				continue
			}
			if since, in := from.Member(seg.ID); in {
				p.SetMember(seg.ID, false, 0)
				p.SetMember(seg.ID, true, since)
			}
			seg.Adopt(p, from)
			v := rules.View{Subject: r.ID, Purpose: p, At: r.Clock}
			p.Arm(int32(at), seg.Next(&v))
		}
	}
}

// stuck tells the shadow's answers of the segments to be filled whose answers
// depend on the former ones.
func (m *Migration) stuck(s *subject.Record) map[int]bool {
	answers := map[int]bool{}
	for i := range m.purposes {
		p := s.Purpose(m.change.To.Purposes[i].Key)
		for _, at := range m.purposes[i].filled {
			if seg := &m.change.To.Segments[at]; seg.Sticky() && p != nil && p.Basis.Known {
				_, answers[at] = p.Member(seg.ID)
			}
		}
	}
	return answers
}

// take takes what was missing of a purpose from a shadow. It reports whether it
// took anything, or the purpose is known by that alone.
func (m *Migration) take(r, s *subject.Record, purpose int) (changed bool) {
	key, policy := m.change.To.Purposes[purpose].Key, m.engine.policies[purpose]
	from := s.Purpose(key)
	if from == nil {
		return false
	}
	if m.change.Reread[purpose] && !policy.NeedsConsent && from.Basis.Known {
		p := r.EnsurePurpose(key)
		p.Indexed = true
		changed = !p.Basis.Known
		consent.Open(&p.Basis, policy)
	}
	changed = m.takeBirthdate(r, from, purpose) || changed
	p := r.Purpose(key)
	if p == nil || !p.Basis.Known {
		return changed
	}
	for _, leaf := range append(m.remembered(purpose), m.purposes[purpose].missing...) {
		if l := from.Leaf(leaf); l != nil {
			*p.EnsureLeaf(leaf) = l.Clone()
			changed = true
		} else {
			p.DropLeaf(leaf)
		}
	}
	for _, t := range from.Traits {
		if m.change.MissingTrait(purpose, t.Key) {
			setTrait(p, t.Key, t.Value, t.Time)
		}
	}
	m.engine.dropBefore(p, purpose)
	return changed
}

// takeBirthdate takes a birthdate that was missing, and with it whether the
// subject is known. It reports whether there was one.
func (m *Migration) takeBirthdate(r *subject.Record, from *subject.Purpose, purpose int) (taken bool) {
	for _, t := range from.Traits {
		if !m.engine.isBirthdate(purpose, t.Key) || !m.change.MissingTrait(purpose, t.Key) {
			continue
		}
		p := r.EnsurePurpose(from.Key)
		p.Indexed = true
		setTrait(p, t.Key, t.Value, t.Time)
		m.engine.settleBasis(p, purpose, r.Clock)
		taken = true
	}
	return taken
}

// remembered returns the leaves that only segments to be filled remember answers
// in: the record's own have not been brought up to date meanwhile.
func (m *Migration) remembered(purpose int) (keys []uint32) {
	for i := range m.change.To.Leaves {
		l := &m.change.To.Leaves[i]
		if l.Purpose == purpose && l.Remembers() && !slices.ContainsFunc(l.Segments, func(s int) bool { return !m.during.segments[s] }) {
			keys = append(keys, l.Key)
		}
	}
	return keys
}

// mergeMessages joins two lists of remembered message ids, oldest first, and
// keeps the newest maxMessages.
func mergeMessages(a, b []subject.Message) []subject.Message {
	all := slices.Clone(a)
	for _, m := range b {
		if i := slices.IndexFunc(all, func(n subject.Message) bool { return n.Hash == m.Hash }); i < 0 {
			all = append(all, m)
		} else {
			all[i].At = max(all[i].At, m.At)
		}
	}
	slices.SortStableFunc(all, func(m, n subject.Message) int { return cmp.Compare(m.At, n.At) })
	return all[max(0, len(all)-maxMessages):]
}
