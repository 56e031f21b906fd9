package oracle

import (
	"slices"

	"github.com/segmentd/segmentd/state/subject"
)

// request is what a data subject asks for.
type request struct {
	kind   string // access portability erase rectify restrict unrestrict
	at     subject.Instant
	traits map[string]any // of rectify
}

func readRequest(m map[string]any, at subject.Instant) *request {
	r := &request{at: at}
	r.kind, _ = m["request"].(string)
	r.traits, _ = m["traits"].(map[string]any)
	return r
}

// rights is what a subject has asked for so far.
type rights struct {
	erased    subject.Instant // LongAgo: never
	restricts []subject.Instant
	lifts     []subject.Instant
}

// restrictedAt reports whether an instant lies in a restricted time: of the
// restrictions and ends at or before it the newest is a restriction, which wins a tie.
func (r *rights) restrictedAt(at subject.Instant) bool {
	newest, restricted := subject.LongAgo, false
	for _, t := range r.lifts {
		if t <= at && t > newest {
			newest = t
		}
	}
	for _, t := range r.restricts {
		if t <= at && t >= newest {
			newest, restricted = t, true
		}
	}
	return restricted
}

// restricted reports whether a subject whose clock stands at an instant is
// restricted: by any restriction that is no older than the newest end that the clock
// has reached.
func (r *rights) restricted(clock subject.Instant) bool {
	newest := subject.LongAgo
	for _, t := range r.lifts {
		if t <= clock {
			newest = max(newest, t)
		}
	}
	return slices.ContainsFunc(r.restricts, func(t subject.Instant) bool { return t >= newest })
}

// refuse reports whether an event may not be used: for its own date, or for the
// clock that it is applied at.
func (r *rights) refuse(at, clock subject.Instant) bool {
	return r.restrictedAt(at) || r.restricted(clock)
}

func (s *simulation) takeRequest(r *request) {
	if r.at <= s.rights.erased {
		return
	}
	switch r.kind {
	case "erase":
		s.erase(r.at)
	case "restrict":
		s.restrict(r.at)
	case "unrestrict":
		s.lift(r.at)
	case "rectify":
		s.rectify(&event{at: r.at, traits: r.traits, right: true})
	}
}

// endAll leaves every segment at once.
func (s *simulation) endAll(p pass) {
	p.only = s.purposes
	p.turned = map[string]bool{}
	for _, seg := range s.set.segments {
		if s.memory.member(seg) {
			s.leaveNow(seg, p)
		}
	}
}

func (s *simulation) leaveNow(seg *segment, p pass) {
	s.version++
	s.memory.leave(seg, p.at, false)
	s.changes = append(s.changes, s.stamp(Change{UserID: s.id.Value, IDType: s.id.Type.String(), Segment: seg.key,
		Purpose: seg.purpose.key, Change: "exited", Time: p.at, Reason: p.reason, Version: s.version}, &p))
}

// erase forgets all up to an instant, and tells the recipients if there was anything.
func (s *simulation) erase(at subject.Instant) {
	p := pass{at: max(at, s.clock), reason: "erased"}
	told := s.version > 0 && s.rights.erased == subject.LongAgo || slices.ContainsFunc(s.purposes, (*standing).hasAnything)
	s.endAll(p)
	if told {
		for _, output := range s.set.outputs() {
			s.version++
			s.changes = append(s.changes, s.stamp(Change{UserID: s.id.Value, IDType: s.id.Type.String(), Change: "erased", Time: p.at,
				Reason: "erased", Output: output, Version: s.version}, &p))
		}
	}
	older := func(t subject.Instant) bool { return t <= at }
	s.rights = rights{erased: at, restricts: slices.DeleteFunc(s.rights.restricts, older), lifts: slices.DeleteFunc(s.rights.lifts, older)}
	s.seen = slices.DeleteFunc(s.seen, func(m seenMessage) bool { return m.at <= at })
	s.moveTo(p.at)
	again := pass{at: p.at, reason: "given", only: []*standing{}}
	for _, st := range s.purposes {
		st.erased = at
		s.settle(st, p.at)
		if st.known {
			again.only = append(again.only, st)
		}
	}
	s.decide(again)
}

// hasAnything reports whether anything is kept of the subject for a purpose: that
// it is known, its birthdate, or a decision that counts.
func (p *standing) hasAnything() bool {
	return p.known || len(p.births) > 0 || slices.ContainsFunc(p.decisions, func(d *decision) bool {
		return d.key > p.erased && (p.ends(d) || p.counts(d))
	})
}

// restrict ends all memberships, unless it is over already.
func (s *simulation) restrict(at subject.Instant) {
	was := s.rights.restricted(s.clock)
	s.rights.restricts = append(s.rights.restricts, at)
	for _, t := range s.rights.lifts {
		s.wakeAll(t)
	}
	if was || !s.rights.restricted(s.clock) {
		return
	}
	s.endAll(pass{at: max(at, s.clock), reason: "restricted"})
	for _, st := range s.purposes {
		s.memory.forget(st.purpose, subject.Never)
	}
	s.reexamine()
}

// lift ends a restriction: all that is known is decided anew.
func (s *simulation) lift(at subject.Instant) {
	was := s.rights.restricted(s.clock)
	s.rights.lifts = append(s.rights.lifts, at)
	s.wakeAll(at)
	s.resume(was, max(at, s.clock))
}

// liftAt ends a restriction whose end was read before it, if that is at the present instant.
func (s *simulation) liftAt(at subject.Instant) {
	if slices.Contains(s.rights.lifts, at) && at > s.clock {
		s.resume(s.rights.restricted(s.clock), at)
	}
}

func (s *simulation) resume(was bool, at subject.Instant) {
	if !was || s.rights.restricted(at) {
		return
	}
	s.moveTo(at)
	s.decide(pass{at: at, lifted: true, ripened: s.ripen(at)})
}

// rectify is an identify that opens nothing (though where a minimum age alone is
// asked for, a birthdate makes its subject known), is never a duplicate nor narrowed, and
// is taken while the subject is restricted.
func (s *simulation) rectify(e *event) {
	p := pass{at: max(e.at, s.clock), reason: "rectified"}
	admitting := func(st *standing) bool { return st.takesBirth(e, p.at) || st.admits(e, p.at) }
	if !slices.ContainsFunc(s.purposes, admitting) {
		return
	}
	s.expire(p.at)
	if !slices.ContainsFunc(s.purposes, admitting) {
		return
	}
	s.moveTo(p.at)
	p.ripened = s.ripen(p.at)
	p.event = e
	p.opened = s.apply(e)
	s.decide(p)
}
