package core

import (
	"slices"

	"github.com/segmentd/segmentd/processor/consent"
	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state/subject"
)

// Migration brings records from one rule set to another, each by itself:
//
//  1. Reread, where decisions of some purpose count otherwise than before, takes
//     each of them in again. It publishes nothing.
//  2. Migrate makes it a record of the new rule set and decides what can be
//     decided. Until then decisions and requests are noted (Note, NoteRequest).
//  3. Where segments are to be filled, they are left alone, and Fill steps the
//     record's shadow through the inputs from their start; live inputs are
//     applied to the record by Engine, and decisions and requests to the shadow
//     too (Shadow, ShadowRequest).
//  4. Once all inputs up to the live ones are in, TakeOver ends the shadow.
//
// Like an Engine it is deterministic, has no I/O, and is used by one goroutine.
type Migration struct {
	change *rules.Transition
	engine *Engine // publishes
	shadow *Engine // of shadows: what it publishes is discarded

	before, during *hold
	purposes       []migratedPurpose // by index
}

// migratedPurpose is what a migration does with a purpose of the new set.
type migratedPurpose struct {
	decided, filled []int    // segments
	missing         []uint32 // keys of leaves
	lists           []int    // segments that differ by members of lists
}

// NewMigration returns a migration for a transition. Its engine leaves alone
// what is to be filled.
func NewMigration(change *rules.Transition, cfg Config) *Migration {
	set := change.To
	m := &Migration{change: change, engine: New(set, cfg), shadow: New(set, cfg), purposes: make([]migratedPurpose, len(set.Purposes))}
	m.before = &hold{segments: make([]bool, len(set.Segments)), leaves: map[uint32]bool{}}
	m.during = &hold{segments: make([]bool, len(set.Segments)), leaves: m.before.leaves}
	m.shadow.byDate = true // it lives again what was before a restriction
	for i, t := range change.Segments {
		p := &m.purposes[set.Segments[i].Purpose]
		switch t {
		case rules.ListChanged:
			p.lists = append(p.lists, i)
		case rules.Decided:
			p.decided = append(p.decided, i)
		case rules.Filled:
			p.filled = append(p.filled, i)
		}
		m.before.segments[i] = t >= rules.Decided
		m.during.segments[i] = t == rules.Filled
	}
	for i := range set.Leaves {
		if l := &set.Leaves[i]; change.MissingLeaf(i) {
			m.before.leaves[l.Key] = true
			m.purposes[l.Purpose].missing = append(m.purposes[l.Purpose].missing, l.Key)
		}
	}
	m.Hold()
	return m
}

// Engine returns the engine of the new rule set.
func (m *Migration) Engine() *Engine { return m.engine }

// Hold lets the engine leave alone what is to be filled.
func (m *Migration) Hold() { m.engine.hold = m.during }

// Release lets the engine decide everything: of records that took over.
func (m *Migration) Release() { m.engine.hold = nil }

// Reread takes a decision in anew, for the purposes whose decisions count
// otherwise than before: in the shadow, until Migrate. It reports whether the
// record must be saved.
func (m *Migration) Reread(r *subject.Record, d subject.Decision) (changed bool) {
	for i, again := range m.change.Reread {
		if key := m.change.To.Purposes[i].Key; again && (d.Purpose == "" || d.Purpose == key) {
			changed = m.reread(r, i, d) || changed
		}
	}
	return changed
}

func (m *Migration) reread(r *subject.Record, purpose int, d subject.Decision) bool {
	s := r.Shadow
	if s == nil {
		s = subject.NewRecord(r.ID)
		s.Erased = r.Erased
	}
	if !consent.Take(&s.EnsurePurpose(m.change.To.Purposes[purpose].Key).Basis, m.engine.policies[purpose], d) {
		return false
	}
	r.Shadow = s
	if r.Erased != 0 {
		r.EnsurePurpose(m.change.To.Purposes[purpose].Key) // no fence any more
	}
	return true
}

// Note keeps a decision of a subject whose record is to be migrated, which
// applies it. It reports whether the record must be saved.
func (m *Migration) Note(r *subject.Record, d subject.Decision) (changed bool) {
	changed = m.Reread(r, d)
	for i := range m.change.To.Purposes {
		key := m.change.To.Purposes[i].Key
		if m.change.Reread[i] || d.Purpose != "" && d.Purpose != key {
			continue
		}
		changed = consent.Take(&r.EnsurePurpose(key).Basis, m.engine.policies[i], d) || changed
	}
	if r.Shadow == nil {
		shut(r)
	}
	return changed
}

// Migrate makes a record of the former rule set, all of whose timers before the
// partition's clock have fired, one of the new set. It reports whether the
// record must be saved.
func (m *Migration) Migrate(r *subject.Record, clock subject.Instant) (changed bool) {
	next, version, was, messages := r.Next, r.Version, r.Clock, len(r.Messages)
	at := max(r.Clock, clock)
	for i := range r.Purposes {
		r.Purposes[i].Armed, r.Purposes[i].Indexed = nil, false
	}
	m.leave(r, at)
	changed = m.dropPurposes(r)
	rebased := m.rebase(r, at)
	changed = rebased || r.Shadow != nil || changed
	r.Shadow = nil
	for i := range r.Purposes {
		if pi, ok := m.change.To.PurposeIndex(r.Purposes[i].Key); ok {
			changed = m.change.Carry(pi, &r.Purposes[i], r.Clock) || changed
		}
	}
	m.engine.hold = m.before
	m.engine.index(r)
	if rebased && at > r.Clock {
		// Its bases are those of this instant: none of their grants is still to come.
		r.Clock = at
		m.engine.markArmed(r, at)
		m.engine.decide(r, at)
	}
	changed = m.settleNoted(r) || changed
	m.decideLists(r)
	m.engine.advance(r, clock, false)
	m.Hold()
	m.decide(r, at, func(p *migratedPurpose) []int { return p.decided }, subject.ByRuleChanged)
	forgetUnknown(r)
	m.engine.rearm(r)
	return changed || r.Next != next || r.Version != version || r.Clock != was || len(r.Messages) != messages
}

// leave exits the segments that are gone.
func (m *Migration) leave(r *subject.Record, at subject.Instant) {
	for _, n := range m.change.Removed {
		if p := r.Purpose(n.Purpose); p != nil {
			m.exit(r, p, n.ID, n.Key, subject.Change{Time: at, Reason: subject.ByRuleRemoved, Output: n.Output, Routed: true})
		}
	}
}

func (m *Migration) exit(r *subject.Record, p *subject.Purpose, id uint32, key string, c subject.Change) {
	if _, in := p.Member(id); !in {
		return
	}
	p.SetMember(id, false, 0)
	c.Segment, c.Kind, c.Purpose = key, subject.Exited, p.Key
	m.engine.publish(r, c)
}

// dropPurposes forgets the purposes that are gone, and memberships that nobody
// can name any more.
func (m *Migration) dropPurposes(r *subject.Record) (changed bool) {
	set := m.change.To
	n := len(r.Purposes)
	r.Purposes = slices.DeleteFunc(r.Purposes, func(p subject.Purpose) bool {
		_, stays := set.PurposeIndex(p.Key)
		return !stays
	})
	changed = len(r.Purposes) != n
	for i := range r.Purposes {
		p := &r.Purposes[i]
		n := len(p.Members)
		p.Members = slices.DeleteFunc(p.Members, func(s subject.Membership) bool {
			at, ok := set.SegmentByID(s.Segment)
			return !ok || set.Purposes[set.Segments[at].Purpose].Key != p.Key
		})
		changed = changed || len(p.Members) != n
	}
	return changed
}

// rebase gives the purposes whose decisions were read again the basis that these
// make, with what was known before and does not contradict it: decisions that
// the topic no longer holds.
func (m *Migration) rebase(r *subject.Record, at subject.Instant) (changed bool) {
	for i, again := range m.change.Reread {
		if again {
			changed = m.rebasePurpose(r, i, at) || changed
		}
	}
	return changed
}

func (m *Migration) rebasePurpose(r *subject.Record, purpose int, at subject.Instant) bool {
	key, policy := m.change.To.Purposes[purpose].Key, m.engine.policies[purpose]
	fresh := r.FreshBasis()
	if r.Shadow != nil {
		if p := r.Shadow.Purpose(key); p != nil {
			fresh = p.Basis
		}
	}
	heard := r.Clock != subject.LongAgo // some input of the subject was applied: it opens what needs no consent
	p := r.Purpose(key)
	if p == nil && len(fresh.Grants) == 0 && (fresh.Stop.Status == subject.Forgotten || fresh.Stop.Status == subject.NoDecision && (policy.NeedsConsent || !heard)) {
		return false
	}
	p = r.EnsurePurpose(key)
	was := p.Basis
	p.Basis = fresh
	m.addFormer(&p.Basis, &was, purpose)
	if heard {
		consent.Open(&p.Basis, policy)
	}
	m.engine.settleBasis(p, purpose, at)
	if !p.Basis.Known {
		m.engine.forget(p, purpose)
		for _, s := range m.change.To.Purposes[purpose].Segments {
			seg := &m.change.To.Segments[s]
			m.exit(r, p, seg.ID, seg.Key, subject.Change{Time: at, Reason: subject.ByRuleChanged})
		}
	}
	return true
}

// addFormer adds the decisions of a former basis to one of decisions read again, and the erasure.
func (m *Migration) addFormer(b, former *subject.Basis, purpose int) {
	policy := m.engine.policies[purpose]
	switch former.Stop.Status {
	case subject.NoDecision:
	case subject.Forgotten:
		consent.Erase(b, former.Stop.At)
	default:
		consent.Take(b, policy, subject.Decision{Status: former.Stop.Status, Time: former.Stop.At, Arrival: subject.Never})
	}
	if policy.NeedsExplicit && !m.wasExplicit(purpose) {
		return // none of them need have been explicit
	}
	if !m.hadNotice(purpose) {
		return // nor on a notice that counts now
	}
	for _, g := range former.Grants {
		if !slices.ContainsFunc(b.Grants, func(h subject.Grant) bool { return h.At == g.At }) {
			consent.Take(b, policy, subject.Decision{Status: subject.Given, Explicit: true, NoticeVersion: policy.OldestNotice, Time: g.At, Arrival: subject.Never, Expires: g.Expires})
		}
	}
}

func (m *Migration) wasExplicit(purpose int) bool {
	p := m.former(purpose)
	return p != nil && p.Basis == rules.ExplicitConsent
}

// hadNotice reports whether the former rules asked for no older notice than the new ones.
func (m *Migration) hadNotice(purpose int) bool {
	asked := m.change.To.Purposes[purpose].OldestNoticeVersion
	p := m.former(purpose)
	return asked == "" || p != nil && p.OldestNoticeVersion >= asked
}

// former is a purpose as the former rules have it; nil: they have it not, or are not known.
func (m *Migration) former(purpose int) *rules.Purpose {
	if m.change.From == nil {
		return nil
	}
	i, ok := m.change.From.PurposeIndex(m.change.To.Purposes[purpose].Key)
	if !ok {
		return nil
	}
	return &m.change.From.Purposes[i]
}

// settleNoted applies the decisions that were noted and take force by the
// subject's clock; those ahead of it are pending. What is known of a subject that
// was restricted, or erased, is decided whole: that may have ended meanwhile.
func (m *Migration) settleNoted(r *subject.Record) (changed bool) {
	e := m.engine
	for i := range r.Purposes {
		p := &r.Purposes[i]
		pi, ok := e.set.PurposeIndex(p.Key)
		if !ok || m.change.Reread[pi] {
			continue
		}
		was := p.Basis
		e.settle(p, pi, settling{r.Clock, subject.ReasonOfStop(p.Basis.Stop.Status), subject.ByGiven, subject.ByGiven})
		if was.Known && !p.Basis.Known {
			e.exits = max(e.exits, p.Basis.Stop.At)
		}
		if !was.Known && p.Basis.Known || was.Known != p.Basis.Known || was.Since != p.Basis.Since {
			changed = true
		}
	}
	if changed {
		e.openFor(r, r.Clock, subject.ByGiven)
	}
	switch {
	case len(r.Restrictions) > 0:
		e.resume(r, subject.ByUnrestricted)
	case r.Erased != 0:
		e.resume(r, subject.ByGiven)
	}
	e.decide(r, r.Clock)
	return changed
}

// decideLists decides the segments that differ by the subject's place on a list
// only, as of the subject's clock.
func (m *Migration) decideLists(r *subject.Record) {
	marked := false
	for i := range r.Purposes {
		pi, ok := m.change.To.PurposeIndex(r.Purposes[i].Key)
		if !ok || !r.Purposes[i].Basis.Known {
			continue
		}
		for _, s := range m.purposes[pi].lists {
			if m.change.ListChangedFor(s, r.ID) {
				m.engine.marks.add(s, subject.ByList)
				marked = true
			}
		}
	}
	if marked {
		m.engine.decide(r, r.Clock)
	}
}

// decide decides segments of known purposes as of an instant that is not before
// the subject's clock. The clock moves to it where anything depends on when it
// is: then the record is as after an input at that instant. It reports whether any
// answer changed.
func (m *Migration) decide(r *subject.Record, at subject.Instant, which func(*migratedPurpose) []int, why subject.Reason) bool {
	e := m.engine
	if e.restricted(r, r.Clock) {
		return false
	}
	if at > r.Clock && m.mattersWhen(r, at, which) {
		e.advance(r, at, true)
		r.Clock = max(r.Clock, at)
		e.markArmed(r, at)
	}
	for i := range r.Purposes {
		if pi, ok := e.set.PurposeIndex(r.Purposes[i].Key); ok && r.Purposes[i].Basis.Known {
			for _, s := range which(&m.purposes[pi]) {
				e.marks.add(s, why)
			}
		}
	}
	return e.decide(r, at).moved
}

// mattersWhen reports whether some of the segments would flip at an instant, or
// may be answered otherwise between the subject's clock and it.
func (m *Migration) mattersWhen(r *subject.Record, at subject.Instant, which func(*migratedPurpose) []int) bool {
	v := rules.View{Subject: r.ID}
	for i := range r.Purposes {
		p := &r.Purposes[i]
		pi, ok := m.change.To.PurposeIndex(p.Key)
		if !ok || !p.Basis.Known {
			continue
		}
		v.Purpose = p
		for _, s := range which(&m.purposes[pi]) {
			seg := &m.change.To.Segments[s]
			v.At = at
			in := m.engine.hold.answer(seg, s, &v)
			v.At = r.Clock
			if _, was := p.Member(seg.ID); in != was || seg.Next(&v) <= at {
				return true
			}
		}
	}
	return false
}
