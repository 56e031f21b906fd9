package mapping

import (
	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	celenv "cel.dev/cel-go/common/env"
	"cel.dev/cel-go/common/operators"
)

// The variables of expressions.
const (
	varKey     = "key"     // text or null
	varValue   = "value"   // the record's value
	varHeaders = "headers" // its headers, text by name
	// varNull stands for the literal null: null as values have it, which can be
	// asked for members.
	varNull = "@null"
)

// Bounds of what is compiled.
const (
	maxExpressionRunes = 8 << 10
	maxNesting         = 100
)

// newEnv declares the language.
func newEnv() (*cel.Env, error) {
	options := []cel.EnvOption{
		cel.StdLib(cel.StdLibSubset(keptOfStdLib())),
		cel.ParserExpressionSizeLimit(maxExpressionRunes),
		cel.ParserRecursionLimit(maxNesting),
		cel.EnableIdentifierEscapeSyntax(),
		cel.Variable(varKey, cel.DynType),
		cel.Variable(varValue, cel.DynType),
		cel.Variable(varHeaders, cel.DynType),
		cel.Variable(varNull, cel.DynType),
		cel.Macros(cel.GlobalMacro("has", 1, isNotNull), cel.AllMacro, cel.ExistsMacro, cel.ExistsOneMacro, cel.MapMacro, cel.MapFilterMacro, cel.FilterMacro),
	}
	return cel.NewCustomEnv(append(options, ownFunctions()...)...)
}

// keptOfStdLib leaves out what ownFunctions declare anew.
func keptOfStdLib() *celenv.LibrarySubset {
	subset := celenv.NewLibrarySubset().SetDisableMacros(true)
	for _, name := range []string{operators.Add, operators.Subtract, operators.Multiply, operators.Divide, operators.Modulo, "string", "dyn"} {
		subset = subset.AddExcludedFunctions(celenv.NewFunction(name))
	}
	return subset
}

// isNotNull expands has(x), which is true of anything but null.
func isNotNull(f cel.MacroExprFactory, _ ast.Expr, args []ast.Expr) (ast.Expr, *cel.Error) {
	return f.NewCall(operators.NotEquals, args[0], f.NewIdent(varNull)), nil
}
