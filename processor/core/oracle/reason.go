package oracle

import "slices"

// explain finds the reason of a change.
func (s *simulation) explain(c *Change, seg *segment, entered bool, p *pass) {
	st := s.standing(seg.purpose)
	switch {
	case p.lifted && st.known:
		if c.Reason = "unrestricted"; slices.Contains(p.ripened, st) {
			c.Reason = "age"
		}
	case !st.known && (p.timer || p.reason == "given"):
		c.Reason = "expired"
	case p.timer:
		c.Reason, c.Tie = s.reasonOfTime(seg, entered, p)
	case p.only != nil:
		c.Reason = p.reason
	case !st.known:
		c.Reason, c.CausedBy = "age", p.cause
	case s.answersByTime(p)[seg.index] == entered:
		c.Reason, _ = s.reasonOfTime(seg, entered, p)
		c.Tie = true
	default:
		c.Reason, c.CausedBy = p.reason, p.cause
		c.Due = s.wakes[seg.index].has(p.at)
	}
}

// reasonOfTime tells apart the changes by time: those that come with being old
// enough, the exits for the retention alone, be it of what another segment
// counts, and all others. An exit at the end of the dwell is of two minds if
// the retention ends then too.
func (s *simulation) reasonOfTime(seg *segment, entered bool, p *pass) (reason string, tie bool) {
	switch {
	case slices.Contains(p.ripened, s.standing(seg.purpose)):
		return "age", false
	case !entered && s.suppose(p, true)[seg.index]:
		return "retention", seg.dwell > 0 && p.at == plus(p.before.since[seg.index], seg.dwell)
	}
	return "time", false
}

// answersByTime are the answers at the pass's instant, had its input not come.
func (s *simulation) answersByTime(p *pass) []bool {
	if p.byTime == nil {
		p.byTime = s.suppose(p, false)
	}
	return p.byTime
}

// suppose answers all segments as if the pass's input had not come, and where
// keepAged as if what reaches the retention at this very instant still counted.
func (s *simulation) suppose(p *pass, keepAged bool) []bool {
	m := p.before.clone()
	answers := make([]bool, len(s.set.segments))
	for _, seg := range s.set.segments {
		sc := s.scope(seg, &m, p.at)
		sc.without, sc.keepAged = p.event, keepAged
		in := m.member(seg)
		if !slices.Contains(p.opened, sc.purpose) {
			in = sc.answer(seg, false)
		}
		if in != m.member(seg) && in {
			m.enter(seg, p.at)
		} else if in != m.member(seg) {
			m.leave(seg, p.at, true)
		}
		answers[seg.index] = in
	}
	return answers
}
