package rules

import "cel.dev/cel-go/common/ast"

// empty judges whether the source of an aggregate can hold an event at all.
func (j *judge) empty(call ast.CallExpr) verdict {
	if !call.IsMemberFunction() {
		return verdict{}
	}
	_, v := j.windowOf(call.Target())
	if v.answer == neverHolds {
		j.found[v.at] = v.reason
	}
	return v
}

// windowOf returns the window in which a source's events count, and whether any
// ever can: then the window is not whole.
func (j *judge) windowOf(e ast.Expr) (window, verdict) {
	s := reach{window: retention(j.kept)}
	v := j.source(e, &s)
	return s.window, v
}

// reach is the window of a source as far as it was walked.
type reach struct {
	window
	waits verdict // to be blamed if it is empty because events wait for a follower; no spot: none do
}

// source walks a source from its end to its beginning; s is its window so far.
func (j *judge) source(e ast.Expr, s *reach) verdict {
	if e.Kind() == ast.IdentKind {
		if let := j.lets[e.AsIdent()]; let != nil && let.typed != nil && let.sort == sourceSort {
			return j.of(let).source(let.tree.Expr(), s)
		}
		return verdict{}
	}
	if e.Kind() != ast.CallKind || !e.AsCall().IsMemberFunction() || len(e.AsCall().Args()) == 0 {
		return verdict{}
	}
	call := e.AsCall()
	v := j.narrowing(call, s)
	switch {
	case v.answer == neverHolds:
		return v
	case s.empty() || s.midnightsPass():
		if s.waits.at.doc != nil {
			v = s.waits
		}
		return verdict{neverHolds, v.at, v.reason}
	}
	return j.source(call.Target(), s)
}

// narrowing applies a method of a source to its window. The verdict says what to
// blame if the window is then empty.
func (j *judge) narrowing(call ast.CallExpr, s *reach) verdict {
	arg := call.Args()[0]
	v := verdict{at: j.f.at(arg.ID()), reason: "the windows of this source have nothing in common: it never holds an event"}
	switch call.FunctionName() {
	case "where":
		return j.verdict(arg)
	case "within", "between":
		far, near := j.rolling(call)
		if near > s.lag {
			s.waits = verdict{}
		}
		s.narrow(far, near)
	case "since":
		if t, ok := fixedInstant(arg); ok {
			s.since = max(s.since, t)
			v.reason = "this source begins after its end: it never holds an event"
		}
	case "until":
		if t, ok := fixedInstant(arg); ok {
			s.until = min(s.until, t)
			v.reason = "this source ends before its beginning: it never holds an event"
		}
	case "since_midnight":
		days, _ := wholeLiteral(arg)
		text, _ := stringLiteral(call.Args()[1])
		if z, err := loadZone(text); err == nil {
			s.midnights = append(s.midnights, midnight{days, z})
		}
	case "followed_by":
		return j.followers(call)
	case "not_followed_by":
		// an event counts from the end of the follower's time on
		if micros := microsOf(call.Args()[1]); micros > s.lag {
			s.lag = micros
			s.waits = verdict{at: j.f.at(call.Args()[1].ID()), reason: "an event leaves the window of this source before this time is over: it never counts"}
		}
	}
	return v
}

// followers judges whether a follower that must come never can.
func (j *judge) followers(call ast.CallExpr) verdict {
	for i := 0; i < len(call.Args()); i += 2 {
		if _, v := j.windowOf(call.Args()[i]); v.answer == neverHolds {
			return v
		}
	}
	return verdict{}
}

// rolling reads the arguments of within and between.
func (j *judge) rolling(call ast.CallExpr) (far, near int64) {
	far = microsOf(call.Args()[0])
	if len(call.Args()) > 1 {
		near = microsOf(call.Args()[1])
	}
	return far, near
}

// microsOf reads a literal duration.
func microsOf(e ast.Expr) int64 {
	text, _ := stringLiteral(e)
	micros, _ := parseDuration(text)
	return micros
}

// longest is the longest time for which an event can count, counted from its own.
func (w *window) longest() int64 {
	longest := w.span
	for i := range w.midnights {
		longest = min(longest, w.midnights[i].longest())
	}
	return longest
}

// midnightsPass reports whether every event has left at a midnight before it
// enters.
func (w *window) midnightsPass() bool { return w.lag >= w.longest() }

// longest is more than the longest time from an event to the midnight at which
// it leaves.
func (m midnight) longest() int64 {
	return (m.days+1)*microsPer['d'] + m.zone.spread()
}
