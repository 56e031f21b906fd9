package rules

import (
	"slices"
	"strconv"
	"strings"

	"github.com/segmentd/segmentd/state/subject"
)

// node is a compiled expression.
type node struct {
	// text is canonical: equal texts mean the same. Lets are inlined, constants
	// folded, && and || sorted, constants of comparisons on the right.
	text     string
	value    valueFn
	truth    truthFn // value is true
	constant bool
	slot     int    // of an event's field, else -1
	parts    []node // operands of a flattened && or ||
	op       string // "&&" or "||" where parts is set
	pick     *pick
	cells    map[string]*cell // of a conjunct of two events: what it reads of them
	join     *join            // … that is an equality
}

// valued makes a node of a computation of any value.
func valued(text string, f valueFn) node {
	return node{text: text, slot: -1, value: f, truth: func(v *View) bool { return f(v).IsTrue() }}
}

// judged makes a node of a computation of a boolean.
func judged(text string, f truthFn) node {
	return node{text: text, slot: -1, truth: f, value: func(v *View) subject.Value { return subject.OfBool(f(v)) }}
}

// literal makes a node of a constant.
func literal(c subject.Value) node {
	holds := c.IsTrue()
	return node{
		text: constantText(c), slot: -1, constant: true,
		value: func(*View) subject.Value { return c },
		truth: func(*View) bool { return holds },
	}
}

// constantValue returns the value of a constant node.
func (n node) constantValue() subject.Value { return n.value(nil) }

// folded computes n now if all it depends on is constant.
func (n node) folded(args ...node) node {
	for _, a := range args {
		if !a.constant {
			return n
		}
	}
	return literal(n.value(&View{}))
}

// call writes a function's canonical text.
func call(name string, args ...node) string {
	texts := make([]string, len(args))
	for i, a := range args {
		texts[i] = a.text
	}
	return name + "(" + strings.Join(texts, ", ") + ")"
}

func infix(a node, op string, b node) string { return "(" + a.text + " " + op + " " + b.text + ")" }

// both makes && of nodes.
func both(a, b node) node {
	if a.constant && !a.constantValue().IsTrue() || b.constant && !b.constantValue().IsTrue() {
		return literal(subject.False)
	}
	parts := combined("&&", a, b)
	x, y := a.truth, b.truth
	n := judged(joined("&&", parts), func(v *View) bool { return x(v) && y(v) })
	n.parts, n.op = parts, "&&"
	return n.folded(a, b)
}

// either makes || of nodes.
func either(a, b node) node {
	if a.constant && a.constantValue().IsTrue() || b.constant && b.constantValue().IsTrue() {
		return literal(subject.True)
	}
	parts := combined("||", a, b)
	x, y := a.truth, b.truth
	n := judged(joined("||", parts), func(v *View) bool { return x(v) || y(v) })
	n.parts, n.op = parts, "||"
	return n.folded(a, b)
}

// combined flattens nested operands of one operator and leaves out constants,
// which decide nothing there.
func combined(op string, nodes ...node) (parts []node) {
	for _, n := range nodes {
		switch {
		case n.constant:
		case n.op == op:
			parts = append(parts, n.parts...)
		default:
			parts = append(parts, n)
		}
	}
	return parts
}

// joined writes operands in canonical order. A single one stays in the form of
// a boolean, which it may not be.
func joined(op string, parts []node) string {
	texts := make([]string, len(parts))
	for i, p := range parts {
		texts[i] = p.text
	}
	slices.Sort(texts)
	return "(" + strings.Join(slices.Compact(texts), " "+op+" ") + ")"
}

// constantText writes a constant as the language does.
func constantText(v subject.Value) string {
	switch v.Kind() {
	case subject.Null:
		return "null"
	case subject.Bool:
		return strconv.FormatBool(v.IsTrue())
	case subject.NumberKind:
		return v.Number().String()
	case subject.String:
		return strconv.Quote(v.Str())
	case subject.Time:
		return "timestamp(" + strconv.Quote(v.Instant().String()) + ")"
	case subject.Duration:
		return "duration(" + strconv.Quote(secondsText(v.Micros())) + ")"
	}
	var parts []string
	for _, e := range v.List() {
		parts = append(parts, constantText(e))
	}
	if v.Kind() == subject.List {
		return "[" + strings.Join(parts, ", ") + "]"
	}
	for _, f := range v.Fields() {
		parts = append(parts, strconv.Quote(f.Key)+": "+constantText(f.Value))
	}
	slices.Sort(parts)
	return "{" + strings.Join(parts, ", ") + "}"
}

// durationText writes whole seconds in the largest unit that leaves no rest.
func durationText(micros int64) string {
	for _, unit := range []byte{'d', 'h', 'm'} {
		if n := microsPer[unit]; micros%n == 0 && micros != 0 {
			return strconv.FormatInt(micros/n, 10) + string(rune(unit))
		}
	}
	return secondsText(micros)
}
