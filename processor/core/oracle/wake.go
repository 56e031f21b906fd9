package oracle

import (
	"slices"
	"sort"

	"github.com/segmentd/segmentd/state/subject"
)

// wakes are instants at which something could change, ascending.
type wakes []subject.Instant

// search returns the index of the first wake at or after an instant.
func (w wakes) search(at subject.Instant) int {
	return sort.Search(len(w), func(i int) bool { return w[i] >= at })
}

func (w wakes) has(at subject.Instant) bool {
	i := w.search(at)
	return i < len(w) && w[i] == at
}

func (w *wakes) add(at subject.Instant) {
	if i, found := slices.BinarySearch(*w, at); !found {
		*w = slices.Insert(*w, i, at)
	}
}

// fireBefore decides at every instant before the limit at which anything could change.
func (s *simulation) fireBefore(limit subject.Instant) {
	for s.examined < limit-1 {
		next := s.nextWake()
		if next >= limit {
			break
		}
		s.timer(next)
		s.examined = max(s.examined, next)
	}
	s.examined = max(s.examined, limit-1)
}

func (s *simulation) nextWake() subject.Instant {
	next := subject.Never
	for _, w := range s.wakes {
		if i := w.search(s.examined + 1); i < len(w) {
			next = min(next, w[i])
		}
	}
	return next
}

// wake makes the simulation look at the scope's segment at an instant.
func (sc *scope) wake(at subject.Instant) {
	if sc.segment != nil {
		sc.sim.wake(sc.segment.index, at)
	}
}

// wakeAll makes the simulation look at all segments at an instant.
func (s *simulation) wakeAll(at subject.Instant) { s.wake(len(s.set.segments), at) }

func (s *simulation) wake(index int, at subject.Instant) {
	s.wakeExactly(index, at)
	if s.opts.Exhaustive {
		s.wakeExactly(index, at-1)
		s.wakeExactly(index, at+1)
	}
}

func (s *simulation) wakeExactly(index int, at subject.Instant) {
	if at >= s.clock && at <= s.clocks[len(s.clocks)-1] {
		s.wakes[index].add(at)
	}
}

// wakeFor makes the simulation look at whatever an event just added to a
// purpose can change later; if it is exhaustive, at the event's age of every
// duration of any rule.
func (s *simulation) wakeFor(e *event, p *standing) {
	for _, seg := range p.segments {
		for _, u := range seg.uses {
			u.turns(e, p.retention, func(at subject.Instant) { s.wake(seg.index, at) })
		}
	}
	if s.opts.Exhaustive {
		for d := range p.reads.spans {
			s.wakeAll(plus(e.at, d))
		}
	}
}

// gridInstants are how many instants of no meaning an exhaustive run looks at.
const gridInstants = 97

func (s *simulation) wakeOnGrid() {
	from, until := s.clocks[0], s.clocks[len(s.clocks)-1]
	for i := range subject.Instant(gridInstants) {
		s.wakeAll(from + (until-from)/gridInstants*i)
	}
}

// due reports whether a timer at an instant must look at a segment.
func (s *simulation) due(seg *segment, at subject.Instant) bool {
	return s.opts.Exhaustive || s.wakes[seg.index].has(at) || s.wakes[len(s.set.segments)].has(at)
}

// timer decides at an instant that the clock has passed. Only a timer that
// changes something moves the subject's clock.
func (s *simulation) timer(at subject.Instant) {
	p := pass{at: at, timer: true, lifted: s.rights.restricted(s.clock) && !s.rights.restricted(at)}
	p.ripened = s.ripen(at)
	applied := len(p.ripened) > 0 || p.lifted
	for _, st := range s.purposes {
		_, changed := s.settle(st, at)
		applied = applied || changed
	}
	if s.decide(p) || applied {
		s.moveTo(at)
	}
}

// moveTo sets the subject's clock.
func (s *simulation) moveTo(at subject.Instant) {
	s.clock = at
	for i, w := range s.wakes {
		s.wakes[i] = w[w.search(at):]
	}
	s.reexamine()
}

// reexamine forgets that instants were examined before the state changed; that
// of the clock itself too, at which a basis may end that an input left alone.
func (s *simulation) reexamine() { s.examined = max(s.clock, subject.LongAgo+1) - 1 }
