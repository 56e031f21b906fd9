package rules

import (
	"fmt"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
)

// sweep judges the comparisons, conjunctions and sources anywhere in an
// expression, whatever becomes of them: in scores, arguments and where. Bodies of
// list macros are left, where a variable may hide a let.
func (j *judge) sweep(e ast.Expr) {
	switch e.Kind() {
	case ast.SelectKind:
		j.sweep(e.AsSelect().Operand())
	case ast.ListKind:
		j.sweepAll(e.AsList().Elements())
	case ast.MapKind:
		for _, entry := range e.AsMap().Entries() {
			j.sweep(entry.AsMapEntry().Value())
		}
	case ast.ComprehensionKind:
		j.sweep(e.AsComprehension().IterRange())
	case ast.CallKind:
		j.sweepCall(e)
	}
}

func (j *judge) sweepCall(e ast.Expr) {
	call := e.AsCall()
	name := call.FunctionName()
	op, compares := comparisons[name]
	switch {
	case compares && len(call.Args()) == 2:
		j.comparison(e, op)
	case name == operators.LogicalAnd:
		j.and(e)
	case name == operators.In:
		j.in(e)
	case aggregates[name] && call.IsMemberFunction():
		j.empty(call)
		j.turns(call)
	}
	if call.IsMemberFunction() {
		j.sweep(call.Target())
	}
	j.sweepAll(call.Args())
}

func (j *judge) sweepAll(all []ast.Expr) {
	for _, e := range all {
		j.sweep(e)
	}
}

// manyPeriods is above what people look back over (the hours of a month are
// 720), and far below what costs a machine: a subject is decided, and its record
// written, each time the count changes as one of its events moves on.
const manyPeriods = 1000

// turns reports periods through which every event moves very often.
func (j *judge) turns(call ast.CallExpr) {
	if call.FunctionName() != "periods" {
		return
	}
	w, v := j.windowOf(call.Target())
	if n := w.mostPeriods(microsOf(call.Args()[0])); v.answer != neverHolds && n > manyPeriods {
		j.found[j.f.at(call.Args()[0].ID())] = fmt.Sprintf(
			"an event passes through %d periods, and at each the rule may be decided again: that costs much; write longer periods or a shorter window", n)
	}
}
