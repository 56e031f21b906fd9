package rules

import (
	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
)

// The list macros, as accumulator variables name them. They expand to
// comprehensions of our own shape, because only a comprehension binds a
// variable for the type checker; macroOf reads them back.
const (
	macroExists    = "@exists"
	macroAll       = "@all"
	macroExistsOne = "@exists_one"
	macroFilter    = "@filter"
	macroMap       = "@map"
)

// macroCall is a list macro read back from its comprehension.
type macroCall struct {
	macro    string // one of the constants above
	variable string
	over     ast.Expr
	where    ast.Expr // predicate; nil for map without one
	each     ast.Expr // map's transformation; nil for the others
}

func listMacros() []cel.Macro {
	return []cel.Macro{
		hasMacro(),
		cel.ReceiverMacro("exists", 2, expander(macroExists)),
		cel.ReceiverMacro("all", 2, expander(macroAll)),
		cel.ReceiverMacro("exists_one", 2, expander(macroExistsOne)),
		cel.ReceiverMacro("existsOne", 2, expander(macroExistsOne)),
		cel.ReceiverMacro("filter", 2, expander(macroFilter)),
		cel.ReceiverMacro("map", 2, expander(macroMap)),
		cel.ReceiverMacro("map", 3, expander(macroMap)),
	}
}

func expander(macro string) cel.MacroFactory {
	return func(f cel.MacroExprFactory, target ast.Expr, args []ast.Expr) (ast.Expr, *cel.Error) {
		if args[0].Kind() != ast.IdentKind {
			return nil, f.NewError(args[0].ID(), "the first argument names a variable and must be a simple name")
		}
		name := args[0].AsIdent()
		init, step, result := expansion(f, macro, args)
		return f.NewComprehension(target, name, macro, init, f.NewLiteral(types.True), step, result), nil
	}
}

// expansion returns initial value, step and result of a macro's accumulator.
// INVARIANT: the predicate is the step's second argument for exists and all,
// the first of its ?: for the others; map's transformation is the only element
// of the list literal that is added.
func expansion(f cel.MacroExprFactory, macro string, args []ast.Expr) (init, step, result ast.Expr) {
	accu := func() ast.Expr { return f.NewIdent(macro) }
	last := args[len(args)-1]
	appended := func(e ast.Expr) ast.Expr { return f.NewCall(operators.Add, accu(), f.NewList(e)) }
	switch macro {
	case macroExists:
		return f.NewLiteral(types.False), f.NewCall(operators.LogicalOr, accu(), last), accu()
	case macroAll:
		return f.NewLiteral(types.True), f.NewCall(operators.LogicalAnd, accu(), last), accu()
	case macroExistsOne:
		one := f.NewCall(operators.Add, accu(), f.NewLiteral(types.IntOne))
		return f.NewLiteral(types.IntZero), f.NewCall(operators.Conditional, last, one, accu()), f.NewCall(operators.Equals, accu(), f.NewLiteral(types.IntOne))
	case macroFilter:
		item := f.NewIdent(args[0].AsIdent())
		return f.NewList(), f.NewCall(operators.Conditional, last, appended(item), accu()), accu()
	}
	if len(args) == 3 {
		return f.NewList(), f.NewCall(operators.Conditional, args[1], appended(last), accu()), accu()
	}
	return f.NewList(), appended(last), accu()
}

// macroOf reads a list macro back from its comprehension; ok is false if e is none.
func macroOf(e ast.Expr) (m macroCall, ok bool) {
	if e.Kind() != ast.ComprehensionKind {
		return m, false
	}
	c := e.AsComprehension()
	m = macroCall{macro: c.AccuVar(), variable: c.IterVar(), over: c.IterRange()}
	if c.LoopStep().Kind() != ast.CallKind {
		return m, false
	}
	step := c.LoopStep().AsCall()
	switch m.macro {
	case macroExists, macroAll:
		m.where = step.Args()[1]
	case macroExistsOne, macroFilter:
		m.where = step.Args()[0]
	case macroMap:
		if step.FunctionName() == operators.Conditional {
			m.where, step = step.Args()[0], step.Args()[1].AsCall()
		}
		m.each = step.Args()[1].AsList().Elements()[0]
	default:
		return m, false
	}
	return m, true
}
