package rules

import "github.com/segmentd/segmentd/state/subject"

// mark is a remembered instant: since when a condition has been answered true
// (held), or when a segment was left (cooldown). It is kept as a leaf with one
// time and no value, and so is forgotten with the purpose's other evidence.
type mark struct {
	key  uint32
	cond truthFn // of held; nil: set by the engine
}

// at returns the remembered instant.
func (m mark) at(p *subject.Purpose) (subject.Instant, bool) {
	l := p.Leaf(m.key)
	if l == nil || len(l.Times) == 0 {
		return 0, false
	}
	return l.Times[0], true
}

func (m mark) set(p *subject.Purpose, at subject.Instant) {
	l := p.EnsureLeaf(m.key)
	l.Times = append(l.Times[:0], at)
}

func (m mark) clear(p *subject.Purpose) { p.DropLeaf(m.key) }

// formerMark is what a mark was before the present pass changed it.
type formerMark struct {
	key   uint32
	since subject.Instant
	set   bool
}

// update brings a held condition's mark to the present answer and reports
// whether that changed it.
func (m mark) update(v *View) bool {
	since, set := m.at(v.Purpose)
	holds := m.cond(v)
	if holds == set {
		return false
	}
	v.scratch.former = append(v.scratch.former, formerMark{m.key, since, set})
	if holds {
		m.set(v.Purpose, v.At)
	} else {
		m.clear(v.Purpose)
	}
	return true
}

// since is the mark's instant; with v.KeepAged as it was before this pass, where
// the pass took it away.
func (m mark) since(v *View) (subject.Instant, bool) {
	since, set := m.at(v.Purpose)
	if !v.KeepAged || set {
		return since, set
	}
	for _, f := range v.scratch.former {
		if f.key == m.key && f.set {
			return f.since, true
		}
	}
	return 0, false
}

// held is the condition held(cond, d).
type held struct {
	mark
	length int64 // microseconds
}

func (h held) holds(v *View) bool {
	if !h.cond(v) {
		return false
	}
	since, ok := h.since(v)
	return ok && v.At >= after(since, h.length)
}

// turn is the instant at which the condition has held for long enough.
func (h held) turn(v *View) subject.Instant {
	if since, ok := h.at(v.Purpose); ok {
		if at := after(since, h.length); at > v.At {
			return at
		}
	}
	return subject.Never
}
