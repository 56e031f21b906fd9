package rules

import (
	"fmt"

	"cel.dev/cel-go/common/ast"

	"github.com/segmentd/segmentd/state/subject"
)

// aggregates are the methods that end a source in a value.
var aggregates = map[string]bool{
	"exists": true, "count": true, "sum": true, "avg": true, "min": true, "max": true, "distinct": true,
	"first": true, "last": true, "most_frequent": true, "days": true, "periods": true,
}

// aggregate compiles an aggregate whose value is wanted.
func (s *scope) aggregate(e ast.Expr) node {
	c := e.AsCall()
	name := c.FunctionName()
	switch name {
	case "exists":
		return s.anyEvent(e)
	case "first", "last":
		return s.fail(e, fmt.Sprintf("an event is no value of its own: take a field of it, as in .%s().timestamp", name))
	case "periods":
		return s.periods(e)
	}
	src, ok := s.sourceOf(e)
	if !ok {
		return literal(null)
	}
	spec := program{policy: keepAll}
	arg := node{}
	if name != "count" {
		if arg, ok = s.aggregateArgument(c, &spec); !ok {
			return literal(null)
		}
	}
	g := s.leaf(src, aggregateProgram(name, spec), arg)
	if g == nil {
		return literal(null)
	}
	s.rule.turn(s.leafText(g), g.next)
	return valued(src.text()+"."+call(name, argumentsOf(arg)...), reader(name, g))
}

func argumentsOf(arg node) []node {
	if arg.value == nil {
		return nil
	}
	return []node{arg}
}

// aggregateProgram says what an aggregate keeps when no constant bounds it.
func aggregateProgram(name string, spec program) program {
	switch name {
	case "sum", "avg":
		spec.gather = gatherNumbers
	case "min":
		spec.gather, spec.policy = gatherOrdered, keepMin
	case "max":
		spec.gather, spec.policy = gatherOrdered, keepMax
	case "distinct", "days":
		spec.gather, spec.policy = gatherValues, keepDistinct
	case "most_frequent":
		spec.gather = gatherValues
	}
	return spec
}

func reader(name string, g *program) valueFn {
	switch name {
	case "count":
		return g.count
	case "sum":
		return g.sum
	case "avg":
		return g.avg
	case "distinct", "days":
		return g.distinct
	case "most_frequent":
		return g.mostFrequent
	case "max":
		return g.greatest
	}
	return g.least
}

// aggregateArgument compiles what an aggregate takes of each event; for days it
// is the day of its timestamp.
func (s *scope) aggregateArgument(c ast.CallExpr, spec *program) (arg node, ok bool) {
	if c.FunctionName() != "days" {
		return s.argument(c.Args()[0], spec)
	}
	z, ok := s.zone(c.Args()[0])
	if !ok {
		return arg, false
	}
	arg = valued(fmt.Sprintf("day(timestamp, %q)", z.name), func(v *View) subject.Value {
		return subject.OfInt(z.day(v.scratch.event.Time))
	})
	spec.arg, spec.daily = arg.value, true
	return arg, true
}

// periods compiles .periods("7d", n).
func (s *scope) periods(e ast.Expr) node {
	c := e.AsCall()
	src, ok := s.sourceOf(e)
	width, ok2 := s.duration(c.Args()[0])
	least := int64(1)
	if len(c.Args()) > 1 {
		if least, _ = wholeLiteral(c.Args()[1]); least < 1 {
			return s.fail(c.Args()[1], "periods() takes a whole number of events written out, 1 or more")
		}
	}
	switch {
	case !ok || !ok2:
		return literal(null)
	case width == 0:
		return s.fail(c.Args()[0], "a period must be longer than nothing")
	}
	g := s.leaf(src, program{policy: keepAll}, node{})
	if g == nil {
		return literal(null)
	}
	p := periods{program: g, width: width, least: least}
	text := fmt.Sprintf("%s.periods(%q, %d)", src.text(), durationText(width), least)
	s.rule.turn(text, p.turn)
	return valued(text, p.count)
}

// argument compiles what an aggregate takes of each event.
func (s *scope) argument(e ast.Expr, spec *program) (arg node, ok bool) {
	before := len(s.problems)
	arg = s.ofEvent().compile(e)
	spec.arg = arg.value
	if arg.slot >= 0 {
		spec.floor = s.fields.fields.Slots[arg.slot].Min
	}
	return arg, len(s.problems) == before
}

// anyEvent compiles whether a source has an event at all.
func (s *scope) anyEvent(e ast.Expr) node {
	src, ok := s.sourceOf(e)
	if !ok {
		return literal(null)
	}
	return s.countThreshold(src, greaterEqual, 1)
}

// selection compiles .first() and .last() with the keys taken of the event.
func (s *scope) selection(e ast.Expr, keys []string) node {
	e, s = s.resolve(e)
	src, ok := s.sourceOf(e)
	if !ok {
		return literal(null)
	}
	end := e.AsCall().FunctionName()
	switch {
	case keys[0] == "name" && len(keys) == 1:
		return s.nameOf(src, end)
	case keys[0] == "timestamp" && len(keys) == 1:
		return s.selected(src, end, node{text: "timestamp"})
	case keys[0] != "properties" && keys[0] != "context":
		return s.fail(e, fmt.Sprintf("an event has no field %q", keys[0]))
	case len(keys) == 1:
		return s.fail(e, fmt.Sprintf("%s is no value of its own: name a field of it, as in .%s().%s.x", keys[0], end, keys[0]))
	}
	return s.selected(src, end, s.eventField(keys[0], keys[1:]))
}

// nameOf is the name of the first or last event: the source's, if there is one
// and it has but one.
func (s *scope) nameOf(src source, end string) node {
	if src.event.prefix {
		return s.selected(src, end, nameOfEvent())
	}
	any := s.countThreshold(src, greaterEqual, 1)
	name := subject.OfString(src.event.text)
	return valued(src.text()+".last().name", func(v *View) subject.Value {
		if any.truth(v) {
			return name
		}
		return null
	})
}

// selected reads one field of the first or last event; a field without a
// closure is the event's timestamp.
func (s *scope) selected(src source, end string, field node) node {
	spec := program{policy: keepAll, arg: field.value}
	if end == "last" {
		spec.policy, spec.limit = keepNewest, 1
	}
	if field.value != nil {
		spec.gather = gatherRaw
	}
	g := s.leaf(src, spec, field)
	if g == nil {
		return literal(null)
	}
	s.rule.turn(s.leafText(g), g.next)
	text := src.text() + "." + end + "()." + field.text
	switch {
	case field.value == nil && end == "last":
		return valued(text, g.lastTime)
	case field.value == nil:
		return valued(text, g.firstTime)
	case end == "last":
		return valued(text, g.last)
	}
	return valued(text, g.first)
}
