package rules

import (
	"cel.dev/cel-go/common/ast"

	"github.com/segmentd/segmentd/state/subject"
)

// comparison compiles the six comparing operators.
func (s *scope) comparison(e ast.Expr, op comparison) node {
	args := e.AsCall().Args()
	a, b := args[0], args[1]
	if n, ok := s.clockComparison(e, op); ok {
		return n
	}
	if s.measures(a) {
		return s.measured(a, op, s.compile(b))
	}
	if s.measures(b) {
		return s.measured(b, op.flipped(), s.compile(a))
	}
	if s.isWallClock(a) {
		return s.wallClockComparison(a, op, s.compile(b))
	}
	if s.isWallClock(b) {
		return s.wallClockComparison(b, op.flipped(), s.compile(a))
	}
	return compare(s.compile(a), op, s.compile(b))
}

// measured compares an aggregate with any value: with a constant the leaf need
// only keep what can matter to that comparison.
func (s *scope) measured(a ast.Expr, op comparison, b node) node {
	if b.constant {
		if n, ok := s.thresholded(a, op, b.constantValue()); ok {
			return n
		}
	}
	return compare(s.compile(a), op, b)
}

// compare compares two values.
func compare(a node, op comparison, b node) node {
	if a.constant && !b.constant {
		a, op, b = b, op.flipped(), a
	}
	if b.text < a.text && !op.ordering() && !b.constant {
		a, b = b, a
	}
	n := judged(infix(a, op.String(), b), comparing(a, op, b))
	if c := b; c.constant && op == equal && a.slot >= 0 && c.constantValue().Kind() == subject.String {
		n.pick = &pick{slot: a.slot, texts: []string{c.constantValue().Str()}}
	}
	return n.folded(a, b)
}

// comparing chooses the fastest closure that compares a with b.
func comparing(a node, op comparison, b node) truthFn {
	x, y := a.value, b.value
	if !b.constant {
		return func(v *View) bool { return op.values(x(v), y(v)) }
	}
	c := b.constantValue()
	switch {
	case c.Kind() == subject.String && !op.ordering():
		return comparingText(a, op == equal, c.Str())
	case c.Kind() == subject.NumberKind:
		return comparingNumber(a, op, c.Number())
	}
	return func(v *View) bool { return op.values(x(v), c) }
}

// comparingText is == and != with a constant text.
func comparingText(a node, want bool, text string) truthFn {
	if slot := a.slot; slot >= 0 {
		return func(v *View) bool {
			f := v.scratch.field(slot)
			return (f.Kind() == subject.String && f.Str() == text) == want
		}
	}
	x := a.value
	return func(v *View) bool {
		f := x(v)
		return (f.Kind() == subject.String && f.Str() == text) == want
	}
}

func comparingNumber(a node, op comparison, n subject.Number) truthFn {
	x, other := a.value, op == notEqual // what a value that is no number gives
	return func(v *View) bool {
		f := x(v)
		if f.Kind() != subject.NumberKind {
			return other
		}
		return op.holds(f.Number().Cmp(n))
	}
}

// setFrom is the size from which membership of constant texts is looked up in a map.
const setFrom = 9

// in compiles x in list and x in map.
func (s *scope) in(c ast.CallExpr) node {
	y := s.compile(c.Args()[1])
	if y.constant && s.isWallClock(c.Args()[0]) {
		values := y.constantValue()
		return s.wallClockCondition(c.Args()[0], "in "+y.text, func(v subject.Value) bool { return contained(v, values) })
	}
	x := s.compile(c.Args()[0])
	text := infix(x, "in", y)
	if !y.constant {
		return judged(text, func(v *View) bool {
			list := y.value(v)
			v.scratch.spend(members(list))
			return contained(x.value(v), list)
		})
	}
	list := y.constantValue()
	n := judged(text, func(v *View) bool { return contained(x.value(v), list) })
	texts, ok := allTexts(list)
	if ok && len(texts) >= setFrom {
		set := make(map[string]struct{}, len(texts))
		for _, t := range texts {
			set[t] = struct{}{}
		}
		value := x.value
		n = judged(text, func(v *View) bool {
			f := value(v)
			_, in := set[f.Str()]
			return in && f.Kind() == subject.String
		})
	}
	if ok && x.slot >= 0 {
		n.pick = &pick{slot: x.slot, texts: texts}
	}
	return n.folded(x, y)
}

// allTexts returns the different elements of a list of texts alone.
func allTexts(list subject.Value) (texts []string, ok bool) {
	seen := make(map[string]bool)
	for _, e := range list.List() {
		if e.Kind() != subject.String {
			return nil, false
		}
		if !seen[e.Str()] {
			seen[e.Str()] = true
			texts = append(texts, e.Str())
		}
	}
	return texts, list.Kind() == subject.List
}
