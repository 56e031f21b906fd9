package oracle

import (
	"slices"
	"sort"

	"github.com/segmentd/segmentd/state/subject"
)

// pass is one decision of a subject's segments at one instant.
type pass struct {
	at      subject.Instant
	timer   bool
	only    []*standing // nil: all purposes
	opened  []*standing // whose standing or evidence the input itself changed
	ripened []*standing // for which the subject is old enough from this instant on
	event   *event      // that was just added; nil: none
	lifted  bool        // a restriction ends with it
	reason  string      // of what the input brought about
	cause   string

	before memory          // as it was when the pass began
	turned map[string]bool // keys of segments whose answers changed
	byTime []bool          // the answers time alone would have given, by segment; made when needed
}

// decide answers all segments in order and publishes what changed. It reports
// whether any answer did, be it only one to the condition of a held.
func (s *simulation) decide(p pass) bool {
	if s.rights.restricted(p.at) {
		return false
	}
	p.before, p.turned = s.memory.clone(), map[string]bool{}
	for _, seg := range s.set.segments {
		if !s.concerns(&p, seg) {
			continue
		}
		sc := s.scope(seg, &s.memory, p.at)
		if in := sc.answer(seg, p.immediate()); in != s.memory.member(seg) {
			s.publish(seg, in, &p)
		}
	}
	return len(p.turned) > 0 || !slices.Equal(p.before.held, s.memory.held)
}

func (s *simulation) scope(seg *segment, m *memory, at subject.Instant) *scope {
	return &scope{sim: s, purpose: s.standing(seg.purpose), memory: m, at: at}
}

// concerns reports whether a pass decides a segment: a timer those that it is
// set for or that depend on them, an input all that it can.
func (s *simulation) concerns(p *pass, seg *segment) bool {
	st := s.standing(seg.purpose)
	switch {
	case p.only != nil:
		return slices.Contains(p.only, st)
	case p.timer:
		return s.due(seg, p.at) || slices.ContainsFunc(seg.after, func(key string) bool { return p.turned[key] })
	}
	return !s.leftForTimer(st, p)
}

// leftForTimer reports whether the basis ends at this very instant: a renewal
// may still come, so that the end is left to the timer.
func (s *simulation) leftForTimer(st *standing, p *pass) bool {
	return !slices.Contains(p.opened, st) && st.lapsing(p.at)
}

// immediate reports whether the pass ignores min_dwell: one of a stop or an
// expiry.
func (p *pass) immediate() bool { return p.only != nil }

func (s *simulation) publish(seg *segment, entered bool, p *pass) {
	c := Change{UserID: s.id.Value, IDType: s.id.Type.String(), Segment: seg.key, Purpose: seg.purpose.key, Change: "exited", Time: p.at}
	s.explain(&c, seg, entered, p)
	s.version++
	c.Version = s.version
	p.turned[seg.key] = true
	if entered {
		c.Change = "entered"
		s.memory.enter(seg, p.at)
	} else {
		s.memory.leave(seg, p.at, s.standing(seg.purpose).known && !p.immediate())
	}
	s.changes = append(s.changes, s.stamp(c, p))
}

func (s *simulation) stamp(c Change, p *pass) stamped {
	if !p.timer {
		return stamped{Change: c, input: s.current, at: p.at}
	}
	first := sort.Search(len(s.clocks), func(i int) bool { return s.clocks[i] > p.at })
	return stamped{Change: c, input: max(first, s.current+1), timer: true, at: p.at}
}
