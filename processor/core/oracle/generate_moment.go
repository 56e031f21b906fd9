package oracle

import "github.com/segmentd/segmentd/state/subject"

// Moments are no further from the stream's own time than so many steps.
const farthestSteps = 40

// moment is a timestamp: now, late, or at the edge of something.
func (s *streamGenerator) moment() subject.Instant {
	at := s.now
	switch n := s.IntN(100); {
	case n < 12:
		at -= (1 + subject.Instant(s.IntN(30))) * s.scale.grid
	case n < 40:
		at = s.edge()
	}
	s.now = max(s.now, min(at, s.now+8*s.scale.grid))
	s.newest = max(s.newest, at)
	s.times = append(s.times, at)
	return at
}

// edge is an instant at which something turns, or a microsecond beside it.
func (s *streamGenerator) edge() subject.Instant {
	at := s.now
	switch n := s.IntN(10); {
	case n < 6 && len(s.times) > 0:
		at = pick(s.generator, s.times) + s.someWindow()
	case n < 8:
		at = s.midnight()
	case n < 9:
		at = s.clockChange()
	}
	at += pick(s.generator, []subject.Instant{0, 0, 0, -1, 1})
	if at < s.now-farthestSteps*s.scale.grid || at > s.now+farthestSteps*s.scale.grid {
		return s.now
	}
	return at
}

// someWindow is the length of a window, or a few of them.
func (s *streamGenerator) someWindow() subject.Instant {
	d, err := parseDuration(s.window())
	if err != nil {
		panic(err) // INVARIANT: the windows of scales are durations
	}
	return subject.Instant(d) * pick(s.generator, []subject.Instant{1, 1, 1, 2, 3})
}

// zoned is a zone of the case, or that of birthdates.
func (s *streamGenerator) zoned() *zone {
	z, err := (&ruleSet{zones: map[string]*zone{}}).zone(pick(s.generator, []string{s.zone(), s.zone(), "UTC"}))
	if err != nil {
		panic(err) // INVARIANT: worlds name zones that exist
	}
	return z
}

// midnight is when a day begins, in a zone of the case, near now.
func (s *streamGenerator) midnight() subject.Instant {
	z := s.zoned()
	return z.start(z.day(s.now) - 1 + s.IntN(4))
}

// clockChange is when the clocks of a zone are set next.
func (s *streamGenerator) clockChange() subject.Instant {
	_, end := s.zoned().wall(s.now).ZoneBounds()
	if end.IsZero() {
		return s.now
	}
	return instantOf(end)
}
