package rules

import (
	"slices"

	"github.com/segmentd/segmentd/state/subject"
)

// serves reports whether evidence kept by g holds all that h would have kept of
// the same events. Only what is compared here may differ between leaves that
// serve each other: whoever gives programs another part must say here what it
// means.
func (g *program) serves(h *program) bool {
	if g.kind != eventLeaf || h.kind != eventLeaf || g.source != h.source || g.argument != h.argument || g.gather != h.gather || !sameFloor(g.floor, h.floor) {
		return false
	}
	return g.window.holds(&h.window, g.policy != keepAll || g.seq != nil) && g.keepsFor(h)
}

func sameFloor(a, b *subject.Number) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Cmp(*b) == 0
}

// holds reports whether events that count in v are kept in w. thinned: of those
// that have entered w only the newest are kept, or those after w's end only as
// followers, so that v must not end, or let them in, at another moment than w or
// one that is earlier counted from now.
func (w *window) holds(v *window, thinned bool) bool {
	if !w.beginsNoLater(v) || w.span < v.span || w.since > v.since || w.until < v.until {
		return false
	}
	return !thinned || v.lag <= w.lag && v.until == w.until
}

// beginsNoLater reports whether w begins no later than v by any midnight.
func (w *window) beginsNoLater(v *window) bool {
	return !slices.ContainsFunc(w.midnights, func(m midnight) bool { return !slices.Contains(v.midnights, m) })
}

// keepsFor reports whether g's policy keeps at least what h's does.
func (g *program) keepsFor(h *program) bool {
	if g.policy == keepAll {
		return true
	}
	if g.policy != h.policy {
		return false
	}
	switch g.policy {
	case keepNewest:
		return g.limit >= h.limit
	case keepDistinct:
		return g.limit == 0 || h.limit > 0 && g.limit >= h.limit
	case keepSum:
		c := g.goal.Cmp(h.goal)
		return c > 0 || c == 0 && (g.strict || !h.strict)
	}
	return true // candidates for an extreme
}

// convert makes the evidence of h of that of a leaf that serves it, as of an instant.
func (h *program) convert(old *subject.Leaf, at subject.Instant) subject.Leaf {
	s := subject.Leaf{Key: h.key, Truncated: old.Truncated}
	for i, t := range old.Times {
		if t < h.since || t > h.until && h.seq == nil || h.leaves(t) <= at || h.empty() {
			continue
		}
		e := entry{at: t}
		switch {
		case h.seq != nil:
			e.value = old.Values[i]
		case h.gather != gatherNone:
			if e.value = old.Values[i]; h.gather != gatherRaw && !h.takes(e.value) {
				continue
			}
		}
		h.place(&s, e, at)
	}
	return s
}
