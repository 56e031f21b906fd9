package mapping

import (
	"cmp"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
)

// expression is one compiled expression: a path of names below value, which
// keeps the record's own text, or a constant text, which need no CEL, or a program.
type expression struct {
	path     []string
	constant []byte      // JSON; nil: none
	program  cel.Program // nil: path or constant
	tracer   *tracer     // of the program

	readsKey, readsHeaders bool
}

// compile compiles one expression; wrong says why it cannot, and where.
func compile(env *cel.Env, text string, wanted want) (e expression, wrong string) {
	parsed, issues := env.Parse(text)
	if issues.Err() != nil {
		return e, explain(text, issues)
	}
	root := parsed.NativeRep().Expr()
	replaceNulls(root)
	checked, issues := env.Check(parsed)
	if issues.Err() != nil {
		return e, explain(text, issues)
	}
	if wrong = refuse(checked.NativeRep()); wrong == "" {
		wrong = misfit(checked.OutputType(), wanted)
	}
	if wrong != "" {
		return e, wrong
	}
	if e.path = pathOf(root); e.path != nil {
		return e, ""
	}
	if root.Kind() == ast.LiteralKind && root.AsLiteral().Type() == types.StringType {
		w := writer{most: maxTextBytes}
		wrong = w.value(root.AsLiteral(), 0)
		return expression{constant: w.text}, wrong
	}
	e.readsKey, e.readsHeaders = reads(root, varKey), reads(root, varHeaders)
	program, err := env.Program(checked, cel.CostTracking(estimator{}), cel.CostLimit(maxCost))
	if err != nil {
		return e, err.Error()
	}
	e.program = program
	if e.tracer, err = newTracer(env, checked); err != nil {
		return e, err.Error()
	}
	return e, ""
}

// replaceNulls makes every literal null the null that values have: CEL's own
// equality would take them for different.
func replaceNulls(root ast.Expr) {
	factory := ast.NewExprFactory()
	visit(root, func(e ast.Expr) {
		if e.Kind() == ast.LiteralKind && e.AsLiteral() == types.NullValue {
			e.SetKindCase(factory.NewIdent(e.ID(), varNull))
		}
	})
}

func visit(root ast.Expr, f func(ast.Expr)) { ast.PreOrderVisit(root, ast.NewExprVisitor(f)) }

func reads(root ast.Expr, variable string) (found bool) {
	visit(root, func(e ast.Expr) { found = found || e.Kind() == ast.IdentKind && e.AsIdent() == variable })
	return found
}

// refuse says what an expression may not do: what would not give the same
// result each time, or take a time that nothing bounds.
func refuse(checked *ast.AST) (wrong string) {
	visit(checked.Expr(), func(e ast.Expr) {
		switch e.Kind() {
		case ast.ComprehensionKind:
			if kind := e.AsComprehension().IterRange().Kind(); kind == ast.MapKind {
				wrong = "a loop over a map literal has no order"
			}
		case ast.CallKind:
			args := e.AsCall().Args()
			if e.AsCall().FunctionName() == "matches" {
				wrong = cmp.Or(refusePattern(args[len(args)-1]), wrong)
			}
		}
	})
	return wrong
}

// maxPatternSteps bounds how many states a pattern can be in: each byte of a text
// costs as much as that in the worst case.
const maxPatternSteps = 250

// refusePattern says why something is no pattern for matches().
func refusePattern(e ast.Expr) string {
	if e.Kind() != ast.LiteralKind {
		return "the pattern of matches() must be a text in quotes"
	}
	text, _ := e.AsLiteral().Value().(string)
	parsed, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return "" // told with its place elsewhere
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err == nil && len(program.Inst) > maxPatternSteps {
		return fmt.Sprintf("the pattern of matches() has %d steps, and at most %d are allowed: repeat less, as in {0,30}", len(program.Inst), maxPatternSteps)
	}
	return ""
}

// misfit says that what an expression gives can never be what is wanted.
func misfit(given *cel.Type, wanted want) string {
	var fits []*cel.Type
	switch wanted {
	case text:
		fits = []*cel.Type{cel.StringType}
	case object:
		fits = []*cel.Type{types.MapType}
	case instant:
		fits = []*cel.Type{cel.StringType, cel.IntType, cel.DoubleType, cel.TimestampType}
	case boolean:
		fits = []*cel.Type{cel.BoolType}
	}
	if given.Kind() == types.DynKind || given.Kind() == types.TypeParamKind {
		return ""
	}
	for _, t := range fits {
		if given.Kind() == t.Kind() {
			return ""
		}
	}
	return fmt.Sprintf("gives %s, not %s", typeWords(given), wantWords[wanted]) + hintFor(given, wanted)
}

func hintFor(given *cel.Type, wanted want) string {
	if wanted == text && (given.Kind() == types.IntKind || given.Kind() == types.DoubleKind) {
		return "; write string(…)"
	}
	return ""
}

func typeWords(t *cel.Type) string {
	switch t.Kind() {
	case types.IntKind, types.DoubleKind, types.UintKind:
		return "a number"
	case types.StringKind:
		return "text"
	case types.BoolKind:
		return "true or false"
	case types.ListKind:
		return "a list"
	case types.MapKind:
		return "an object"
	case types.TimestampKind:
		return "a timestamp"
	case types.DurationKind:
		return "a duration"
	}
	return t.String()
}

// pathOf returns the names of an expression that only selects below value, not
// nil; nil where it does more.
func pathOf(e ast.Expr) []string {
	switch e.Kind() {
	case ast.IdentKind:
		if e.AsIdent() == varValue {
			return []string{}
		}
	case ast.SelectKind:
		if path := pathOf(e.AsSelect().Operand()); path != nil && !e.AsSelect().IsTestOnly() {
			return append(path, e.AsSelect().FieldName())
		}
	case ast.CallKind:
		call := e.AsCall()
		if call.FunctionName() != "_[_]" || call.Args()[1].Kind() != ast.LiteralKind {
			return nil
		}
		name, ok := call.Args()[1].AsLiteral().(types.String)
		if path := pathOf(call.Args()[0]); path != nil && ok {
			return append(path, string(name))
		}
	}
	return nil
}

// explain puts the first error of CEL in words and points at its place.
func explain(text string, issues *cel.Issues) string {
	first := issues.Errors()[0]
	message := words(strings.TrimPrefix(first.Message, "Syntax error: "))
	lines := strings.Split(text, "\n")
	line, column := first.Location.Line(), first.Location.Column()
	if line < 1 || line > len(lines) || column < 0 {
		return message
	}
	shown := lines[line-1]
	if m := unknownName.FindStringSubmatch(first.Message); m != nil {
		if begin, called := calledAt([]rune(shown), column, m[1]); called {
			message, column = unknownFunction(m[1]), begin
		}
	}
	return fmt.Sprintf("%s\n  %s\n  %s^", message, shown, strings.Repeat(" ", min(column, len([]rune(shown)))))
}

var (
	unknownName = regexp.MustCompile(`^undeclared reference to '([^']*)'`)
	noOverload  = regexp.MustCompile(`^found no matching overload for '(.*)' applied to '(.*)'$`)
	unexpected  = regexp.MustCompile(`^(?:mismatched|extraneous|no viable alternative at) input '(.*?)'(?: expecting .*)?$`)
)

// words puts CEL's commonest errors in words.
func words(message string) string {
	if m := unknownName.FindStringSubmatch(message); m != nil {
		return fmt.Sprintf("unknown name '%s': an expression reads key, value and headers, as in value.customer.id", m[1])
	}
	if m := noOverload.FindStringSubmatch(message); m != nil {
		return fmt.Sprintf("'%s' does not take %s; dyn is a field of the record", strings.Trim(m[1], "_"), m[2])
	}
	if m := unexpected.FindStringSubmatch(message); m != nil {
		if m[1] == "<EOF>" {
			return "the expression ends too early"
		}
		return fmt.Sprintf("'%s' cannot stand here", m[1])
	}
	return message
}
