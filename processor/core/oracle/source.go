package oracle

import (
	"slices"
	"strings"

	"github.com/segmentd/segmentd/state/subject"
)

// source is events(name) with the methods called on it.
type source struct {
	name    string // with a trailing *: the beginning of names
	filters []filter
}

type filter struct {
	method    string // where within between since until since_midnight followed_by not_followed_by
	predicate *node  // of where
	far, near span   // of within and between: the window is (T - far, T - near]
	at        any    // of since and until, an instant
	days      int    // of since_midnight
	zone      *zone
	then      *source // of followed_by and not_followed_by
	gap       span    // the most time to then
}

var sourceMethods = map[string]bool{"where": true, "within": true, "between": true, "since": true, "until": true,
	"since_midnight": true, "followed_by": true, "not_followed_by": true}

// use is a source that a rule aggregates.
type use struct {
	source *source
	width  span // of the windows of periods; 0: another aggregate
}

// names reports whether an event's name is the source's.
func (s *source) names(e *event) bool {
	if start, ok := strings.CutSuffix(s.name, "*"); ok {
		return strings.HasPrefix(e.name, start)
	}
	return e.name == s.name
}

// bound is the oldest age at which an event can still count for the source.
func (s *source) bound(retention span) span {
	for _, f := range s.filters {
		if f.far != 0 {
			retention = min(retention, f.far)
		}
	}
	return retention
}

// concerns reports whether an event could be one of the source's events or of
// its followers', now or later.
func (s *source) concerns(sc *scope, e *event) bool {
	before := func(f filter) bool { return (f.method == "since" || f.method == "since_midnight") && !sc.keeps(&f, e) }
	if slices.ContainsFunc(s.filters, before) {
		return false // for ever; and no follower of one of its events can come before it
	}
	if s.names(e) && !slices.ContainsFunc(s.filters, func(f filter) bool { return f.fixed() && !sc.keeps(&f, e) }) {
		return true
	}
	return slices.ContainsFunc(s.filters, func(f filter) bool { return f.then != nil && f.then.concerns(sc, e) })
}

// fixed reports whether the filter's view of an event is always the same.
func (f *filter) fixed() bool {
	return f.method == "where" && f.predicate.memo != forgetful || f.method == "since" || f.method == "until"
}

// selected calls yield for each event of a source, oldest first, until it returns false.
func (sc *scope) selected(src *source, yield func(*event) bool) {
	for i, e := range sc.purpose.events {
		if sc.retained(e) && sc.qualifies(src, i, nil) && !yield(e) {
			return
		}
	}
}

func (sc *scope) retained(e *event) bool {
	oldest := minus(sc.at, sc.purpose.retention)
	return e.at > oldest || sc.keepAged && e.at == oldest
}

// qualifies reports whether the event with an index is one of the source's,
// as a follower of previous.
func (sc *scope) qualifies(src *source, i int, previous *event) bool {
	e := sc.purpose.events[i]
	if e == sc.without || e.at > sc.at || !src.names(e) {
		return false
	}
	for k := range src.filters {
		if !sc.passes(&src.filters[k], i, previous) {
			return false
		}
	}
	return true
}

func (sc *scope) passes(f *filter, i int, previous *event) bool {
	e := sc.purpose.events[i]
	switch f.method {
	case "where":
		return isTrue(sc.of(e, f.predicate, previous))
	case "followed_by":
		return sc.follows(f, i)
	case "not_followed_by":
		return sc.at >= plus(e.at, f.gap) && !sc.follows(f, i)
	}
	return sc.keeps(f, e)
}

// follows reports whether an event of f.then comes after the one with an index,
// at most f.gap later.
func (sc *scope) follows(f *filter, i int) bool {
	e := sc.purpose.events[i]
	for k := i + 1; k < len(sc.purpose.events) && sc.purpose.events[k].at <= plus(e.at, f.gap); k++ {
		if sc.qualifies(f.then, k, e) {
			return true
		}
	}
	return false
}

// keeps asks a filter that looks at one event alone.
func (sc *scope) keeps(f *filter, e *event) bool {
	switch f.method {
	case "where":
		return isTrue(sc.of(e, f.predicate, nil))
	case "since":
		c, ok := compare(e.at, f.at)
		return ok && c >= 0
	case "until":
		c, ok := compare(e.at, f.at)
		return ok && c <= 0
	case "since_midnight":
		return e.at >= f.zone.start(f.zone.day(sc.at)-f.days)
	}
	return e.at > minus(sc.at, f.far) && e.at <= minus(sc.at, f.near)
}

// of evaluates a predicate or an argument for one event. What does not mention
// the previous event depends on nothing else, and so is remembered with it.
func (sc *scope) of(e *event, n *node, previous *event) any {
	inner := scope{sim: sc.sim, purpose: sc.purpose, at: sc.at, event: e, previous: previous}
	if n.memo == forgetful {
		return inner.eval(n)
	}
	if e.memo == nil {
		e.memo = make([]*memo, sc.sim.set.memos)
	}
	if e.memo[n.memo] == nil {
		e.memo[n.memo] = &memo{inner.eval(n)}
	}
	return e.memo[n.memo].value
}

// turns calls at for every instant at which time alone can change what the
// source says of an event, or of another because of it.
func (u use) turns(e *event, retention span, at func(subject.Instant)) {
	u.source.deadlines(e, at)
	if !u.source.names(e) {
		return
	}
	at(plus(e.at, retention))
	for _, f := range u.source.filters {
		switch f.method {
		case "within", "between":
			at(plus(e.at, f.far))
			at(plus(e.at, f.near))
		case "since_midnight":
			at(f.zone.start(f.zone.day(e.at) + f.days + 1))
		}
	}
	for age := u.width; u.width > 0 && age <= u.source.bound(retention); age += u.width {
		at(plus(e.at, age))
	}
}

// deadlines are the instants from which it counts that nothing followed an event.
func (s *source) deadlines(e *event, at func(subject.Instant)) {
	for _, f := range s.filters {
		if f.method == "not_followed_by" && s.names(e) {
			at(plus(e.at, f.gap))
		}
		if f.then != nil {
			f.then.deadlines(e, at)
		}
	}
}
