package rules

import (
	"slices"

	"github.com/segmentd/segmentd/state/subject"
)

// Merge admits evidence that another instance kept of the same leaf, as decided at the
// instant at. What p has already is not added again: of entries that are alike p has
// afterwards as many as the one of the two that had more. What cannot be evidence of
// the leaf, or lies after the instant, is left out. It returns how many entries were
// added, and how many of from's could not be evidence.
func (l *Leaf) Merge(p *subject.Purpose, from *subject.Leaf, at subject.Instant) (added, refused int) {
	g := l.program
	hasValues := g.gather != gatherNone || g.seq != nil
	if hasValues != (len(from.Values) > 0) {
		return 0, len(from.Times)
	}
	for i, t := range from.Times {
		e := entry{at: t}
		if hasValues {
			e.value = from.Values[i]
		}
		switch {
		case t > at || t < g.since || t > g.until && g.seq == nil || g.empty() || !g.mayKeep(e.value):
			refused++
		case g.expired(from.Times[i:i+1], at) > 0: // is over
		case alike(p.Leaf(l.Key), e) >= alike(&subject.Leaf{Times: from.Times[:i+1], Values: upTo(from.Values, i+1)}, e): // is there
		case g.merge(p, e, at):
			added++
		}
	}
	if state := p.Leaf(l.Key); state != nil && from.Truncated && added > 0 {
		state.Truncated = true
	}
	return added, refused
}

func upTo(values []subject.Value, n int) []subject.Value { return values[:min(n, len(values))] }

// alike counts the entries that are like e.
func alike(s *subject.Leaf, e entry) (count int) {
	if s == nil {
		return 0
	}
	for i := firstFrom(s.Times, e.at); i < len(s.Times) && s.Times[i] == e.at; i++ {
		if len(s.Values) == 0 || s.Values[i].Equal(e.value) {
			count++
		}
	}
	return count
}

// mayKeep reports whether a value can be what the leaf keeps of an event.
func (g *program) mayKeep(v subject.Value) bool {
	if g.seq != nil {
		return g.seq.mayKeep(v)
	}
	return g.gather == gatherNone || g.gather == gatherRaw || g.takes(v)
}

// mayKeep reports whether a value is an entry of the sequence: the steps, and as many
// cells as it has.
func (q *sequence) mayKeep(v subject.Value) bool {
	number := v
	if len(q.cells) > 0 {
		if len(v.List()) != 1+len(q.cells) {
			return false
		}
		number = v.List()[0]
	}
	steps, ok := number.Number().Int64()
	return ok && number.Kind() == subject.NumberKind && steps > 0 && steps < 1<<len(q.steps)
}

// merge adds an entry as insert does.
func (g *program) merge(p *subject.Purpose, e entry, at subject.Instant) bool {
	if g.seq == nil {
		return g.admit(p, e, at)
	}
	state := p.EnsureLeaf(g.key)
	dropHead(state, g.expired(state.Times, at))
	g.put(state, firstFrom(state.Times, after(e.at, 1)), e)
	return true
}

// LeafByMeaning returns the leaf of a purpose, by the text of its meaning, or nil.
func (s *Set) LeafByMeaning(purpose int, text string) *Leaf {
	i := slices.IndexFunc(s.Leaves, func(l Leaf) bool { return l.Purpose == purpose && l.Text == text })
	if i < 0 {
		return nil
	}
	return &s.Leaves[i]
}
