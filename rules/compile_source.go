package rules

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	"github.com/segmentd/segmentd/state/subject"
)

// source is a compiled source: the events of a name that a predicate, windows
// and what follows them let count.
type source struct {
	event   pattern
	where   []node // conjuncts of the event alone
	pairs   []node // of a follower: conjuncts of the event and the one before it
	follows []following
	end     exprPlace // of the aggregate that asks about them
	window
}

// following is a condition on what comes after a source's events.
type following struct {
	source source
	within int64 // microseconds
	never  bool
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
		if !narrowing[c.FunctionName()] {
			return false
		}
		e = c.Target()
	}
}

// narrowing are the methods that make a source of a source.
var narrowing = map[string]bool{"where": true, "within": true, "between": true, "since": true, "until": true, "since_midnight": true,
	"followed_by": true, "not_followed_by": true}

// sourceOf compiles the source of an aggregate, as source does.
func (s *scope) sourceOf(aggregate ast.Expr) (src source, ok bool) {
	src, ok = s.source(aggregate.AsCall().Target())
	src.end = s.place(aggregate)
	return src, ok
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
	if s.follower && !ofFollowers[c.FunctionName()] {
		s.fail(e, "a follower has no window: the time allowed for it is the argument behind it")
		return src, false
	}
	return src, s.narrowed(e, &src)
}

// narrowed applies a method to a source.
func (s *scope) narrowed(e ast.Expr, src *source) bool {
	c := e.AsCall()
	switch c.FunctionName() {
	case "where":
		return s.whereMethod(c, src)
	case "within":
		return s.withinMethod(c, src)
	case "between":
		return s.betweenMethod(c, src)
	case "since":
		return s.sinceMethod(c, src)
	case "until":
		return s.untilMethod(c, src)
	case "since_midnight":
		return s.sinceMidnightMethod(c, src)
	case "followed_by":
		return s.followedByMethod(c, src)
	case "not_followed_by":
		return s.notFollowedByMethod(c, src)
	}
	s.fail(e, "not a source: begin with events(\"Name\")")
	return false
}

// ofFollowers are the methods that a follower may have.
var ofFollowers = map[string]bool{"where": true, "followed_by": true, "not_followed_by": true}

func (s *scope) events(e ast.Expr) (source, bool) {
	name, ok := stringLiteral(e.AsCall().Args()[0])
	switch {
	case e.AsCall().FunctionName() != "events":
		s.fail(e, "not a source: begin with events(\"Name\")")
		return source{}, false
	case !ok:
		s.fail(e.AsCall().Args()[0], "events() takes a literal name")
		return source{}, false
	}
	event := patternOf(name)
	s.rule.names[event] = true
	kept := s.set.purposes[s.purpose()].Retention.Microseconds()
	return source{event: event, window: retention(kept)}, true
}

// whereMethod adds the conjuncts of a predicate.
func (s *scope) whereMethod(c ast.CallExpr, src *source) bool {
	before := len(s.problems)
	for _, e := range conjuncts(c.Args()[0]) {
		if s.namesPrevious(e) {
			s.pairConjunct(e, src)
			continue
		}
		n := s.ofEvent().compile(e)
		switch {
		case n.op == "&&":
			src.where = append(src.where[:len(src.where):len(src.where)], n.parts...)
		case !n.constant || !n.constantValue().IsTrue():
			src.where = append(src.where[:len(src.where):len(src.where)], n)
		}
	}
	return len(s.problems) == before
}

// conjuncts takes an expression apart at its outer &&.
func conjuncts(e ast.Expr) []ast.Expr {
	if e.Kind() == ast.CallKind && e.AsCall().FunctionName() == operators.LogicalAnd {
		return append(conjuncts(e.AsCall().Args()[0]), conjuncts(e.AsCall().Args()[1])...)
	}
	return []ast.Expr{e}
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

func (s *scope) sinceMidnightMethod(c ast.CallExpr, src *source) bool {
	days, ok := wholeLiteral(c.Args()[0])
	if !ok || days < 0 || days > maxDays {
		s.fail(c.Args()[0], fmt.Sprintf("since_midnight() takes a whole number of days written out, 0 to %d", maxDays))
		return false
	}
	z, ok := s.zone(c.Args()[1])
	if m := (midnight{days, z}); ok && !slices.Contains(src.midnights, m) {
		src.midnights = append(src.midnights[:len(src.midnights):len(src.midnights)], m)
	}
	return ok
}

// maxDays bounds since_midnight: a hundred years.
const maxDays = 36525

// wholeLiteral reads a whole number written out.
func wholeLiteral(e ast.Expr) (int64, bool) {
	if e.Kind() != ast.LiteralKind {
		return 0, false
	}
	n, ok := e.AsLiteral().(types.Int)
	return int64(n), ok
}

// zone reads a literal time zone.
func (s *scope) zone(e ast.Expr) (zone, bool) {
	name, ok := stringLiteral(e)
	if !ok {
		s.fail(e, "a time zone must be a literal string")
		return zone{}, false
	}
	z, err := loadZone(name)
	if err != nil {
		s.fail(e, err.Error())
	}
	return z, err == nil
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
func (src *source) text() string { return src.eventsText() + src.window.text() }

// eventsText is the text without the window, which a follower has none of.
func (src *source) eventsText() string {
	var b strings.Builder
	b.WriteString("events(" + src.event.String() + ")")
	if len(src.where)+len(src.pairs) > 0 {
		var texts []string
		for _, n := range append(src.where[:len(src.where):len(src.where)], src.pairs...) {
			texts = append(texts, n.text)
		}
		slices.Sort(texts)
		b.WriteString(".where(" + strings.Join(slices.Compact(texts), " && ") + ")")
	}
	var texts []string
	for i := range src.follows {
		texts = append(texts, src.follows[i].text())
	}
	slices.Sort(texts)
	b.WriteString(strings.Join(slices.Compact(texts), ""))
	return b.String()
}

func (f *following) text() string {
	method := ".followed_by("
	if f.never {
		method = ".not_followed_by("
	}
	return method + f.source.eventsText() + ", " + strconv.Quote(durationText(f.within)) + ")"
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
	for _, m := range w.midnights {
		fmt.Fprintf(&b, ".since_midnight(%d, %q)", m.days, m.zone.name)
	}
	if w.since != subject.LongAgo {
		fmt.Fprintf(&b, ".since(%q)", w.since)
	}
	if w.until != subject.Never {
		fmt.Fprintf(&b, ".until(%q)", w.until)
	}
	return b.String()
}
