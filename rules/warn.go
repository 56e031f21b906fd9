package rules

// warnings reports what is no error but hardly meant.
func (c *checker) warnings(set *Set, of func(exprPlace) *formula) {
	for i := range c.sections.segments {
		if c.rules[i] != nil && !c.failing(i) {
			c.warnConstant(i)
		}
	}
	c.warnAges()
	c.warnInformation()
	if set != nil {
		c.warnUnbounded(set, of)
	}
	c.warnSpecial()
}

// warnConstant reports rules of a segment that can never or always hold, and
// conditions in them that never do.
func (c *checker) warnConstant(i int) {
	d, when, stay := &c.sections.segments[i], c.rules[i], c.stays[i]
	j := &judge{checker: c, f: when, found: make(map[spot]string)}
	if p := c.purposeIndex(d.purpose); p >= 0 {
		j.kept = c.purposes[p].Retention.Microseconds()
	}
	for _, f := range c.usedBy(i) {
		j.of(f).sweep(f.tree.Expr())
	}
	c.warnVerdict(j, "so the segment '"+d.key+"' %s holds")
	if stay != nil {
		c.warnStay(j.of(stay), when, d.key)
	}
	for at, reason := range j.found {
		c.warnf(at, "%s", reason)
	}
}

// warnVerdict reports a formula that can never or always hold; so says what
// follows from that. It reports whether it is one.
func (c *checker) warnVerdict(j *judge, so string) bool {
	v := j.verdict(j.f.tree.Expr())
	if v.answer == undecided {
		return false
	}
	delete(j.found, v.at)
	c.warnf(v.at, "%s; "+so, v.reason, [...]string{"", "never", "always"}[v.answer])
	return true
}

// warnUnbounded reports leaves that keep every event of their window; of returns
// the formula of a place.
func (c *checker) warnUnbounded(set *Set, of func(exprPlace) *formula) {
	told := map[spot]bool{}
	for i := range set.Leaves {
		l := &set.Leaves[i]
		if !l.unbounded() || len(l.Segments) == 0 {
			continue
		}
		advice := ""
		if l.program.gather == gatherNumbers && l.program.floor == nil {
			advice = "; a sum compared with a constant keeps less where the field is declared with min: 0"
		}
		at := leafSpot(l, of, told)
		told[at] = true
		if l.program.lag > 0 {
			c.warnf(at, "this keeps every event until it is %s old, so what is kept grows with the number of events", durationText(l.program.lag))
			continue
		}
		c.warnf(at, "this keeps %s, so it grows with the number of events%s", l.Bound, advice)
	}
}

// unbounded reports whether the evidence grows with the rate of events. Of days
// there are no more than the window has.
func (l *Leaf) unbounded() bool {
	g := l.program
	if g.kind == markLeaf {
		return false
	}
	return g.policy == keepAll || g.policy == keepDistinct && g.limit == 0 && !g.daily || g.lag > 0
}

// leafSpot is the first place of an aggregate that a leaf serves; if it can, one
// of which nothing has been told, so that each leaf has a warning of its own.
func leafSpot(l *Leaf, of func(exprPlace) *formula, told map[spot]bool) spot {
	var best spot
	for _, end := range l.program.ends {
		at := of(end).at(end.exprID)
		if best.doc == nil || told[best] && !told[at] || told[best] == told[at] && compareSpots(at, best) < 0 {
			best = at
		}
	}
	return best
}
