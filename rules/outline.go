package rules

import (
	"slices"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
)

// outline is an expression of a rule as explanations show it: what it says and
// how to compute it. It is made while the rule is compiled, and only Explain
// reads it. What stands inside of where(...), aggregates and list macros has no
// value of its own and is not in it; constants are not either.
type outline struct {
	kind  partKind
	text  string // as it is written; "" where the parts say it
	value valueFn
	parts []outline
	reads *readings // of the expression itself; nil: none
}

// partKind is how an expression is made of its parts.
type partKind uint8

const (
	plainPart    partKind = iota
	andPart               // all parts hold
	orPart                // one does
	notPart               // the one part does not hold
	choicePart            // the second part if the first holds, else the third
	letPart               // a let, by whose name the part is called
	heldPart              // the one part has held for long enough
	constantPart          // of a choice
)

// readings are what an expression itself reads of a subject, beside what its
// parts do.
type readings struct {
	leaves  []leafReading
	trait   string // top-level key; "": none
	segment string // key; "": none
	held    *held
	turns   []nextFn // when the expression may change
}

// leafReading is a leaf that an expression reads, with the quantity of it that
// the expression compares with a constant.
type leafReading struct {
	*program
	measure string  // count, distinct, days or sum; "": the expression is the quantity
	value   valueFn // nil where measure is ""
}

// outliner makes the outline of a rule while its expressions are compiled.
type outliner struct {
	open []*outlineDraft
	root *outlineDraft // the last expression that was closed last
}

// outlineDraft is an expression that is being compiled, or was.
type outlineDraft struct {
	outline
	drafts   []*outlineDraft // parts
	expr     ast.Expr        // what it is
	let      string          // as which let it stands here; "": as itself
	id       int64
	constant bool
	through  bool // computes a value of its parts and reads nothing else
}

// begin opens an expression.
func (o *outliner) begin() { o.open = append(o.open, &outlineDraft{}) }

// end closes the expression, which was compiled as n.
func (o *outliner) end(s *scope, e ast.Expr, n node) {
	last := len(o.open) - 1
	d := o.open[last]
	o.open = o.open[:last]
	d.expr, _ = s.resolve(e)
	if d.expr != e {
		d.let = e.AsIdent()
	}
	d.id, d.constant, d.value = e.ID(), n.constant, n.value
	d.kind, d.through = kindOf(d.expr)
	d.through = d.through && d.reads == nil
	d.gather()
	if o.root = d; last > 0 {
		o.open[last-1].drafts = append(o.open[last-1].drafts, d)
	}
}

// gather makes parts of what was compiled for an expression, in the order in
// which they are written: without constants, nested && and || flattened, and of
// arithmetic only what it computes with.
func (d *outlineDraft) gather() {
	if d.kind != choicePart {
		slices.SortStableFunc(d.drafts, func(a, b *outlineDraft) int { return int(a.id - b.id) })
	}
	for _, p := range d.drafts {
		switch {
		case p.constant && d.kind != choicePart:
		case p.let == "" && (p.kind == d.kind && (d.kind == andPart || d.kind == orPart) || p.through && d.through):
			d.parts = append(d.parts, p.parts...)
		default:
			d.parts = append(d.parts, p.sealed())
		}
	}
	d.drafts, d.parts = nil, slices.Clip(d.parts)
}

// sealed is the expression as a part of another.
func (d *outlineDraft) sealed() outline {
	o := d.outline
	if o.kind != andPart && o.kind != orPart && o.kind != notPart {
		o.text = written(d.expr)
	}
	if d.constant {
		o.kind, o.parts, o.reads = constantPart, nil, nil
	}
	if d.let != "" {
		return outline{kind: letPart, text: d.let, value: o.value, parts: []outline{o}}
	}
	return o
}

// take returns the outline of the expression that was compiled last.
func (o *outliner) take() *outline {
	if o.root == nil {
		return nil
	}
	whole := o.root.sealed()
	o.root = nil
	return &whole
}

// reads returns the readings of the expression that is being compiled.
func (o *outliner) reads() *readings {
	if len(o.open) == 0 {
		return &readings{}
	}
	d := o.open[len(o.open)-1]
	if d.reads == nil {
		d.reads = &readings{}
	}
	return d.reads
}

// leaf notes that the expression reads a leaf.
func (o *outliner) leaf(g *program) {
	r := o.reads()
	r.leaves = append(r.leaves, leafReading{program: g})
}

// value adds a part that is not compiled by itself.
func (o *outliner) value(e ast.Expr, value valueFn) {
	if len(o.open) > 0 {
		d := o.open[len(o.open)-1]
		d.drafts = append(d.drafts, &outlineDraft{outline: outline{value: value}, expr: e, id: e.ID()})
	}
}

// measure says which quantity of the leaf noted last the expression compares.
func (o *outliner) measure(name string, value valueFn) {
	if r := o.reads(); len(r.leaves) > 0 {
		last := &r.leaves[len(r.leaves)-1]
		last.measure, last.value = name, value
	}
}

// kindOf says how an expression is made of its parts; through reports whether
// it only computes a value of them.
func kindOf(e ast.Expr) (kind partKind, through bool) {
	if e.Kind() != ast.CallKind {
		return plainPart, true
	}
	c := e.AsCall()
	name := c.FunctionName()
	switch name {
	case operators.LogicalAnd:
		return andPart, false
	case operators.LogicalOr:
		return orPart, false
	case operators.LogicalNot:
		return notPart, false
	case operators.Conditional:
		return choicePart, false
	case "held":
		return heldPart, false
	}
	_, computes := arithmetic[name]
	return plainPart, computes || unary[name] != nil || textTests[name] != nil || c.IsMemberFunction() && getters[name] != nil ||
		name == operators.Index || name == "split" || name == hasCall
}
