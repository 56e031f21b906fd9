package oracle

import (
	"slices"

	"github.com/segmentd/segmentd/state/subject"
)

// memory is what earlier answers leave behind, for later answers to depend on.
type memory struct {
	since  []subject.Instant // of memberships, by segment; unset: no member
	exited []subject.Instant // when the last membership ended, by segment; unset: forgotten
	held   []subject.Instant // since when a held's condition is true without a break; unset: it is not
}

const unset = subject.Never

func newMemory(set *ruleSet) memory {
	blank := func(n int) []subject.Instant { return slices.Repeat([]subject.Instant{unset}, n) }
	return memory{since: blank(len(set.segments)), exited: blank(len(set.segments)), held: blank(set.helds)}
}

func (m *memory) clone() memory {
	return memory{slices.Clone(m.since), slices.Clone(m.exited), slices.Clone(m.held)}
}

func (m *memory) member(s *segment) bool { return m.since[s.index] != unset }

func (m *memory) enter(s *segment, at subject.Instant) {
	m.since[s.index], m.exited[s.index] = at, unset
}

// leave ends a membership, which may begin the cool-down.
func (m *memory) leave(s *segment, at subject.Instant, cools bool) {
	m.since[s.index] = unset
	if cools && s.cooldown > 0 {
		m.exited[s.index] = at
	}
}

// forget drops of a purpose's helds and cool-downs those that began before an
// instant. It reports whether there were any.
func (m *memory) forget(p *purpose, before subject.Instant) (any bool) {
	drop := func(t *subject.Instant) {
		if *t != unset && *t < before {
			*t, any = unset, true
		}
	}
	for _, s := range p.segments {
		drop(&m.exited[s.index])
		for _, h := range s.helds {
			drop(&m.held[h.held])
		}
	}
	return any
}

// answer decides a segment at the scope's instant. It brings the helds of the
// segment up to date, but leaves the membership as it is.
func (sc *scope) answer(s *segment, immediate bool) bool {
	if !sc.purpose.known {
		return false
	}
	sc.segment = s
	for _, h := range s.helds {
		sc.hold(h)
	}
	was := sc.memory.member(s)
	switch in := isTrue(sc.eval(s.when)) || was && s.stay != nil && isTrue(sc.eval(s.stay)); {
	case was && !in && !immediate:
		return !sc.over(sc.memory.since[s.index], s.dwell)
	case !was && in:
		exited := sc.memory.exited[s.index]
		return exited == unset || sc.over(exited, s.cooldown)
	default:
		return in
	}
}

// over reports whether a duration has passed since an instant, and makes the
// simulation look again when it has.
func (sc *scope) over(since subject.Instant, d span) bool {
	sc.wake(plus(since, d))
	return sc.at >= plus(since, d)
}

// hold notes whether the condition of a held is true.
func (sc *scope) hold(h *node) {
	since := &sc.memory.held[h.held]
	switch holds := isTrue(sc.eval(h.args[0])); {
	case !holds:
		*since = unset
	case *since == unset:
		*since = sc.at
	}
}

// heldAnswer is whether the condition of a held has been true for long enough.
func heldAnswer(sc *scope, n *node) any {
	since := sc.memory.held[n.held]
	return since != unset && sc.over(since, n.value.(span))
}
