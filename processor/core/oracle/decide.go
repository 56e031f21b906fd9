package oracle

import (
	"slices"
	"sort"

	"github.com/segmentd/segmentd/state/subject"
)

// pass is one decision of a subject's segments at one instant.
type pass struct {
	at     subject.Instant
	timer  bool
	only   *standing   // nil: all purposes
	opened []*standing // whose standing or evidence the input itself changed
	event  *event      // that was just added; nil: none
	reason string      // of what the input brought about
	cause  string

	byTime map[*segment]bool // the answers time alone would have given; made when needed
	kept   map[*segment]bool // and those with what leaves for the retention alone
}

// decide answers all segments in order and publishes what changed. It reports
// whether anything did.
func (s *simulation) decide(p pass) (any bool) {
	for _, seg := range s.set.segments {
		st := s.standing(seg.purpose)
		if p.only != nil && p.only != st || !p.timer && s.leftForTimer(st, &p) {
			continue
		}
		_, in := s.since[seg]
		if s.holds(seg, &scope{at: p.at}) == in {
			continue
		}
		s.publish(seg, !in, &p)
		any = true
	}
	return any
}

// leftForTimer reports whether the basis ends at this very instant: a renewal
// may still come, so that the end is left to the timer.
func (s *simulation) leftForTimer(st *standing, p *pass) bool {
	return p.only == nil && !slices.Contains(p.opened, st) && st.lapsing(p.at)
}

// holds answers one segment; sc says at which instant and how.
func (s *simulation) holds(seg *segment, sc *scope) bool {
	sc.sim, sc.purpose = s, s.standing(seg.purpose)
	return sc.purpose.known && isTrue(sc.eval(seg.rule))
}

func (s *simulation) publish(seg *segment, entered bool, p *pass) {
	c := Change{UserID: s.id.Value, IDType: s.id.Type.String(), Segment: seg.key, Purpose: seg.purpose.key, Time: p.at}
	s.explain(&c, seg, entered, p)
	s.version++
	c.Version = s.version
	c.Change = "exited"
	delete(s.since, seg)
	if entered {
		c.Change = "entered"
		s.since[seg] = p.at
	}
	s.changes = append(s.changes, s.stamp(c, p))
}

func (s *simulation) stamp(c Change, p *pass) stamped {
	if !p.timer {
		return stamped{Change: c, input: s.current, at: p.at}
	}
	first := sort.Search(len(s.clocks), func(i int) bool { return s.clocks[i] > p.at })
	if s.began {
		first = max(first, s.current+1)
	}
	return stamped{Change: c, input: first, timer: true, at: p.at}
}

// explain finds the reason of a change.
func (s *simulation) explain(c *Change, seg *segment, entered bool, p *pass) {
	st := s.standing(seg.purpose)
	switch {
	case !st.known && (p.timer || p.reason == "given"):
		c.Reason = "expired"
	case p.timer:
		c.Reason = s.reasonOfTime(seg, entered, p)
	case p.only != nil:
		c.Reason = p.reason
	case s.answersByTime(p)[seg] == entered:
		c.Reason, c.Tie = s.reasonOfTime(seg, entered, p), true
	default:
		c.Reason, c.CausedBy = p.reason, p.cause
	}
}

// reasonOfTime tells an exit that came for the retention alone, be it of what
// another segment counts, from all other changes by time.
func (s *simulation) reasonOfTime(seg *segment, entered bool, p *pass) string {
	if p.kept == nil {
		p.kept = s.suppose(p, true)
	}
	if !entered && p.kept[seg] {
		return "retention"
	}
	return "time"
}

// answersByTime are the answers at the pass's instant, had its input not come.
// The first call must come before any membership changed in the pass.
func (s *simulation) answersByTime(p *pass) map[*segment]bool {
	if p.byTime == nil {
		p.byTime = s.suppose(p, false)
	}
	return p.byTime
}

// suppose answers all segments as if the pass's input had not come, and where
// keepAged as if what reaches the retention at this very instant still counted.
func (s *simulation) suppose(p *pass, keepAged bool) map[*segment]bool {
	answers := map[*segment]bool{}
	for _, seg := range s.set.segments {
		if slices.Contains(p.opened, s.standing(seg.purpose)) {
			_, answers[seg] = s.since[seg]
			continue
		}
		answers[seg] = s.holds(seg, &scope{at: p.at, without: p.event, answers: answers, keepAged: keepAged})
	}
	return answers
}
