package mapping

import (
	"errors"
	"fmt"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/interpreter"
)

// tracer finds the place in an expression that fails for a record: it evaluates
// again, and keeps what each part gives. CEL's own errors do not know their
// place (several evaluations share them).
type tracer struct {
	checked *ast.AST
	program cel.Program
}

func newTracer(env *cel.Env, checked *cel.Ast) (*tracer, error) {
	program, err := env.Program(checked, cel.EvalOptions(cel.OptTrackState), cel.CostTracking(estimator{}), cel.CostLimit(maxCost))
	if err != nil {
		return nil, err
	}
	return &tracer{checked.NativeRep(), program}, nil
}

// reason says where and why an evaluation failed with err: the place in the
// expression, its function or operator, and the kinds of what that was given,
// never anything that the record holds.
func (t *tracer) reason(err error, record *variables) string {
	why := reason(err)
	if why == errTooCostly {
		return why
	}
	_, details, _ := t.program.Eval(record)
	if details == nil || details.State() == nil {
		return why
	}
	failed := failedPart(t.checked.Expr(), details.State())
	if failed == nil {
		return why
	}
	if said := said(failed, details.State(), err); said != "" {
		why = said
	}
	return t.place(failed) + why
}

// place is where a part stands, from 1.
func (t *tracer) place(part ast.Expr) string {
	at := t.checked.SourceInfo().GetStartLocation(part.ID())
	switch {
	case at.Line() < 1 || at.Column() < 0:
		return ""
	case at.Line() > 1:
		return fmt.Sprintf("line %d, column %d: ", at.Line(), at.Column()+1)
	}
	return fmt.Sprintf("column %d: ", at.Column()+1)
}

// failedPart is the innermost part that has failed, nil if none is known to have.
func failedPart(e ast.Expr, state interpreter.EvalState) (failed ast.Expr) {
	v, known := state.Value(e.ID())
	if known && !types.IsError(v) {
		return nil // whatever failed in it did not matter
	}
	for _, part := range parts(e) {
		if failed = failedPart(part, state); failed != nil {
			return failed
		}
	}
	if known {
		return e
	}
	return nil
}

func parts(e ast.Expr) []ast.Expr {
	switch e.Kind() {
	case ast.SelectKind:
		return []ast.Expr{e.AsSelect().Operand()}
	case ast.CallKind:
		return operands(e.AsCall())
	case ast.ListKind:
		return e.AsList().Elements()
	case ast.MapKind:
		var all []ast.Expr
		for _, entry := range e.AsMap().Entries() {
			all = append(all, entry.AsMapEntry().Key(), entry.AsMapEntry().Value())
		}
		return all
	case ast.ComprehensionKind:
		loop := e.AsComprehension()
		return []ast.Expr{loop.IterRange(), loop.AccuInit(), loop.LoopCondition(), loop.LoopStep(), loop.Result()}
	}
	return nil
}

// operands are what a call is of, the text or list that it is asked of in front.
func operands(call ast.CallExpr) []ast.Expr {
	if call.IsMemberFunction() {
		return append([]ast.Expr{call.Target()}, call.Args()...)
	}
	return call.Args()
}

// said puts in words what a part that failed was given; "" where the reason
// that is known says enough.
func said(failed ast.Expr, state interpreter.EvalState, err error) string {
	var own functionError
	if errors.As(err, &own) || reason(err) == errIndex {
		return ""
	}
	switch failed.Kind() {
	case ast.SelectKind:
		if given := kindsOf([]ast.Expr{failed.AsSelect().Operand()}, state); given != "" {
			return askedOf(failed.AsSelect().FieldName(), given)
		}
	case ast.CallKind:
		of := operands(failed.AsCall())
		if failed.AsCall().FunctionName() == operators.Conditional {
			of = of[:1]
		}
		given := kindsOf(of, state)
		switch {
		case given == "":
		case reason(err) == errOther:
			return callName(failed.AsCall().FunctionName()) + " of " + given + " fails"
		default:
			return callName(failed.AsCall().FunctionName()) + " does not take " + given
		}
	}
	return ""
}

// askedOf says that a value of some kind has no members.
func askedOf(name, kind string) string {
	return fmt.Sprintf("%s is asked for its member %.40q", kind, name)
}

// callName is a function or operator as expressions write it.
func callName(function string) string {
	switch function {
	case operators.Conditional:
		return "?:"
	case operators.Index:
		return "[…]"
	}
	if symbol, ok := operators.FindReverse(function); ok && symbol != "" {
		return symbol
	}
	return function + "()"
}

// kindsOf is the kinds of what parts gave, in words; "" if none is known.
func kindsOf(all []ast.Expr, state interpreter.EvalState) string {
	var words []string
	for _, part := range all {
		v, ok := state.Value(part.ID())
		if part.Kind() == ast.LiteralKind {
			v, ok = part.AsLiteral(), true
		}
		if ok && !types.IsUnknownOrError(v) {
			words = append(words, kindWord(v))
		}
	}
	return strings.Join(words, " and ")
}

func kindWord(v ref.Val) string {
	if v.Type() == types.NullType {
		return "null"
	}
	switch v.(type) {
	case types.Int, types.Double, types.Uint:
		return "a number"
	case types.String:
		return "a string"
	case types.Bool:
		return "a boolean"
	case types.Timestamp:
		return "a timestamp"
	case types.Duration:
		return "a duration"
	case traits.Lister:
		return "a list"
	case traits.Mapper:
		return "an object"
	}
	return "something else"
}
