package rules

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"cel.dev/cel-go/common/ast"

	"github.com/segmentd/segmentd/state/subject"
)

// source is a compiled source: the events of one name that a predicate and
// windows let count.
type source struct {
	event string
	where []node // conjuncts
	window
}

// isSource reports whether an expression is a source of events.
func (s *scope) isSource(e ast.Expr) bool {
	for {
		e, s = s.resolve(e)
		if e.Kind() != ast.CallKind {
			return false
		}
		c := e.AsCall()
		if !c.IsMemberFunction() {
			return c.FunctionName() == "events"
		}
		if _, ok := narrowing[c.FunctionName()]; !ok {
			return false
		}
		e = c.Target()
	}
}

// narrowing are the methods that make a source of a source; false: refused in
// this version.
var narrowing = map[string]bool{
	"where": true, "within": true, "between": true, "since": true, "until": true,
	"since_midnight": false, "followed_by": false, "not_followed_by": false,
}

// source compiles a source; ok is false, with the problem noted, if it cannot.
func (s *scope) source(e ast.Expr) (src source, ok bool) {
	e, s = s.resolve(e)
	if s.inEvent {
		s.fail(e, "events() is not known inside where(...) and aggregates")
		return src, false
	}
	if e.Kind() != ast.CallKind {
		s.fail(e, "not a source: begin with events(\"Name\")")
		return src, false
	}
	c := e.AsCall()
	if !c.IsMemberFunction() {
		return s.events(e)
	}
	if src, ok = s.source(c.Target()); !ok {
		return src, false
	}
	switch c.FunctionName() {
	case "where":
		ok = s.whereMethod(c, &src)
	case "within":
		ok = s.withinMethod(c, &src)
	case "between":
		ok = s.betweenMethod(c, &src)
	case "since":
		ok = s.sinceMethod(c, &src)
	case "until":
		ok = s.untilMethod(c, &src)
	default:
		s.fail(e, c.FunctionName()+"() is not available in this version")
		ok = false
	}
	return src, ok
}

func (s *scope) events(e ast.Expr) (source, bool) {
	name, ok := stringLiteral(e.AsCall().Args()[0])
	switch {
	case e.AsCall().FunctionName() != "events":
		s.fail(e, "not a source: begin with events(\"Name\")")
		return source{}, false
	case !ok:
		s.fail(e.AsCall().Args()[0], "events() takes a literal name")
		return source{}, false
	case strings.HasSuffix(name, "*"):
		s.fail(e.AsCall().Args()[0], "names that end in * are not available in this version")
		return source{}, false
	}
	s.rule.names[name] = true
	kept := s.set.purposes[s.purpose()].Retention.Microseconds()
	return source{event: name, window: retention(kept)}, true
}

func (s *scope) whereMethod(c ast.CallExpr, src *source) bool {
	before := len(s.problems)
	n := s.ofEvent().compile(c.Args()[0])
	switch {
	case n.op == "&&":
		src.where = append(src.where[:len(src.where):len(src.where)], n.parts...)
	case !n.constant || !n.constantValue().IsTrue():
		src.where = append(src.where[:len(src.where):len(src.where)], n)
	}
	return len(s.problems) == before
}

func (s *scope) withinMethod(c ast.CallExpr, src *source) bool {
	span, ok := s.duration(c.Args()[0])
	src.narrow(span, 0)
	return ok
}

func (s *scope) betweenMethod(c ast.CallExpr, src *source) bool {
	span, ok := s.duration(c.Args()[0])
	lag, ok2 := s.duration(c.Args()[1])
	src.narrow(span, lag)
	return ok && ok2
}

func (s *scope) sinceMethod(c ast.CallExpr, src *source) bool {
	at, ok := s.fixedTime(c.Args()[0])
	src.since = max(src.since, at)
	return ok
}

func (s *scope) untilMethod(c ast.CallExpr, src *source) bool {
	at, ok := s.fixedTime(c.Args()[0])
	src.until = min(src.until, at)
	return ok
}

// duration reads a literal duration.
func (s *scope) duration(e ast.Expr) (micros int64, ok bool) {
	text, ok := stringLiteral(e)
	if !ok {
		s.fail(e, "a duration must be a literal string")
		return 0, false
	}
	micros, err := parseDuration(text)
	if err != nil {
		s.fail(e, err.Error())
	}
	return micros, err == nil
}

// fixedTime reads a constant timestamp.
func (s *scope) fixedTime(e ast.Expr) (subject.Instant, bool) {
	n := s.compile(e)
	if !n.constant || n.constantValue().Kind() != subject.Time {
		s.fail(e, `a fixed instant is needed: timestamp("2024-01-31") or timestamp("2024-01-31T12:00:00Z")`)
		return 0, false
	}
	return n.constantValue().Instant(), true
}

// text is the canonical text of a source.
func (src *source) text() string {
	var b strings.Builder
	b.WriteString("events(" + strconv.Quote(src.event) + ")")
	if len(src.where) > 0 {
		texts := make([]string, len(src.where))
		for i, n := range src.where {
			texts[i] = n.text
		}
		slices.Sort(texts)
		b.WriteString(".where(" + strings.Join(slices.Compact(texts), " && ") + ")")
	}
	return b.String() + src.window.text()
}

// text writes a window in the methods of the language; a retention that is not
// narrowed is written as one, too.
func (w *window) text() string {
	var b strings.Builder
	switch {
	case w.lag > 0 && w.span == unbounded:
		fmt.Fprintf(&b, ".before(%q)", durationText(w.lag))
	case w.lag > 0:
		fmt.Fprintf(&b, ".between(%q, %q)", durationText(w.span), durationText(w.lag))
	case w.span != unbounded && !w.retained:
		fmt.Fprintf(&b, ".within(%q)", durationText(w.span))
	}
	if w.retained {
		fmt.Fprintf(&b, ".retained(%q)", durationText(w.span))
	}
	if w.since != subject.LongAgo {
		fmt.Fprintf(&b, ".since(%q)", w.since)
	}
	if w.until != subject.Never {
		fmt.Fprintf(&b, ".until(%q)", w.until)
	}
	return b.String()
}
