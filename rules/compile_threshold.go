package rules

import (
	"cel.dev/cel-go/common/ast"

	"github.com/segmentd/segmentd/state/subject"
)

// thresholds are the aggregates that a constant on the other side bounds.
var thresholds = map[string]bool{"count": true, "distinct": true, "days": true, "sum": true, "first": true, "last": true}

// measures reports whether an expression is such an aggregate.
func (s *scope) measures(e ast.Expr) bool {
	e, s = s.resolve(e)
	if e.Kind() != ast.CallKind {
		return false
	}
	c := e.AsCall()
	return c.IsMemberFunction() && thresholds[c.FunctionName()] && s.isSource(c.Target())
}

// thresholded compiles an aggregate compared with a constant so that its leaf
// keeps only what can matter; ok is false where that is impossible.
func (s *scope) thresholded(e ast.Expr, op comparison, c subject.Value) (n node, ok bool) {
	e, s = s.resolve(e)
	name := e.AsCall().FunctionName()
	switch {
	case name == "first" || name == "last":
		if !c.IsNull() || op.ordering() {
			return node{}, false
		}
		any := s.anyEvent(e)
		if op == notEqual {
			return any, true
		}
		truth := any.truth
		return judged("!"+any.text, func(v *View) bool { return !truth(v) }), true
	case c.Kind() != subject.NumberKind:
		return node{}, false
	case name == "sum":
		return s.sumThresholded(e, op, c.Number())
	}
	return s.countThresholded(e, op, c.Number())
}

// countThresholded is for count, distinct and days.
func (s *scope) countThresholded(e ast.Expr, op comparison, k subject.Number) (n node, ok bool) {
	c := e.AsCall()
	t, decided, answer := wholeThreshold(op, k)
	if t.n < 0 && !decided {
		return node{}, false
	}
	src, ok := s.sourceOf(e)
	if !ok {
		return literal(null), true
	}
	var spec program
	var arg node
	if c.FunctionName() != "count" {
		if arg, ok = s.aggregateArgument(c, &spec); !ok {
			return literal(null), true
		}
	}
	switch {
	case decided:
		return literal(subject.OfBool(answer)), true
	case c.FunctionName() != "count":
		return s.distinctThreshold(src, spec, arg, t), true
	}
	return s.countThreshold(src, t.op, t.n), true
}

// sumThresholded needs an argument that is a field declared never to be negative.
func (s *scope) sumThresholded(e ast.Expr, op comparison, goal subject.Number) (n node, ok bool) {
	before := len(s.problems)
	spec := program{goal: goal}
	arg, ok := s.argument(e.AsCall().Args()[0], &spec)
	if !ok {
		return literal(null), true
	}
	if spec.floor == nil || spec.floor.Sign() < 0 || len(s.problems) > before {
		return node{}, false
	}
	src, ok := s.sourceOf(e)
	switch {
	case !ok:
		return literal(null), true
	case len(src.follows) > 0:
		return node{}, false
	}
	if goal.Sign() < 0 || goal.Sign() == 0 && (op == less || op == greaterEqual) {
		return literal(subject.OfBool(op == notEqual || op == greater || op == greaterEqual)), true
	}
	return s.sumThreshold(src, spec, arg, op), true
}
