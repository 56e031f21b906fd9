package rules

import (
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
