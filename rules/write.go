package rules

import (
	"strconv"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
)

// maxWritten bounds the text of an expression in an explanation, in bytes.
const maxWritten = 400

// written writes an expression as the language does, lets by their names, cut
// off with … where it is long.
func written(e ast.Expr) string {
	w := writer{}
	w.expr(e)
	if w.full() {
		return strings.ToValidUTF8(w.b.String()[:maxWritten], "") + "…"
	}
	return w.b.String()
}

// writer writes expressions, and stops looking at them once it is full.
type writer struct{ b strings.Builder }

func (w *writer) full() bool { return w.b.Len() > maxWritten }

// infixes are the operators between two values, with how strongly they bind.
var infixes = map[string]struct {
	sign  string
	binds int
}{
	operators.LogicalOr: {"||", 2}, operators.LogicalAnd: {"&&", 3},
	operators.Equals: {"==", 4}, operators.NotEquals: {"!=", 4}, operators.Less: {"<", 4}, operators.LessEquals: {"<=", 4},
	operators.Greater: {">", 4}, operators.GreaterEquals: {">=", 4}, operators.In: {"in", 4},
	operators.Add: {"+", 5}, operators.Subtract: {"-", 5},
	operators.Multiply: {"*", 6}, operators.Divide: {"/", 6}, operators.Modulo: {"%", 6},
}

const (
	bindsConditional = 1
	bindsUnary       = 7
	bindsMember      = 8
)

// binds says how strongly the outer operator of an expression binds.
func binds(e ast.Expr) int {
	if e.Kind() != ast.CallKind {
		return bindsMember
	}
	name := e.AsCall().FunctionName()
	switch name {
	case operators.Conditional:
		return bindsConditional
	case operators.LogicalNot, operators.Negate:
		return bindsUnary
	}
	if op, ok := infixes[name]; ok {
		return op.binds
	}
	return bindsMember
}

// within writes an operand, in parentheses if it binds less than is needed.
func (w *writer) within(e ast.Expr, needed int) {
	if binds(e) >= needed {
		w.expr(e)
		return
	}
	w.b.WriteByte('(')
	w.expr(e)
	w.b.WriteByte(')')
}

func (w *writer) expr(e ast.Expr) {
	if w.full() {
		return
	}
	switch e.Kind() {
	case ast.LiteralKind:
		w.literal(e)
	case ast.IdentKind:
		w.b.WriteString(e.AsIdent())
	case ast.SelectKind:
		w.within(e.AsSelect().Operand(), bindsMember)
		w.key(e.AsSelect().FieldName())
	case ast.ListKind:
		w.b.WriteByte('[')
		w.list(e.AsList().Elements())
		w.b.WriteByte(']')
	case ast.MapKind:
		w.mapLiteral(e)
	case ast.CallKind:
		w.call(e.AsCall())
	case ast.ComprehensionKind:
		w.macro(e)
	}
}

// key writes the selection of a field.
func (w *writer) key(name string) {
	switch {
	case identifier.MatchString(name):
		w.b.WriteString("." + name)
	case strings.ContainsRune(name, '`'):
		w.b.WriteString("[" + strconv.Quote(name) + "]")
	default:
		w.b.WriteString(".`" + name + "`")
	}
}

func (w *writer) literal(e ast.Expr) {
	switch c := e.AsLiteral().(type) {
	case types.String:
		w.b.WriteString(strconv.Quote(string(c)))
	case types.Double:
		w.b.WriteString(strconv.FormatFloat(float64(c), 'g', -1, 64))
	case types.Int:
		w.b.WriteString(strconv.FormatInt(int64(c), 10))
	case types.Bool:
		w.b.WriteString(strconv.FormatBool(bool(c)))
	default:
		w.b.WriteString("null")
	}
}

func (w *writer) list(elements []ast.Expr) {
	for i, e := range elements {
		if w.full() {
			return
		}
		if i > 0 {
			w.b.WriteString(", ")
		}
		w.expr(e)
	}
}

func (w *writer) mapLiteral(e ast.Expr) {
	w.b.WriteByte('{')
	for i, entry := range e.AsMap().Entries() {
		if i > 0 {
			w.b.WriteString(", ")
		}
		w.expr(entry.AsMapEntry().Key())
		w.b.WriteString(": ")
		w.expr(entry.AsMapEntry().Value())
	}
	w.b.WriteByte('}')
}

func (w *writer) call(c ast.CallExpr) {
	args := c.Args()
	switch name := c.FunctionName(); {
	case name == operators.Conditional:
		w.within(args[0], bindsConditional+1)
		w.b.WriteString(" ? ")
		w.within(args[1], bindsConditional+1)
		w.b.WriteString(" : ")
		w.expr(args[2])
	case name == operators.LogicalNot:
		w.b.WriteByte('!')
		w.within(args[0], bindsUnary)
	case name == operators.Negate:
		w.b.WriteByte('-')
		w.within(args[0], bindsUnary)
	case name == operators.Index:
		w.within(args[0], bindsMember)
		w.b.WriteByte('[')
		w.expr(args[1])
		w.b.WriteByte(']')
	case infixes[name].sign != "":
		op := infixes[name]
		w.within(args[0], op.binds)
		w.b.WriteString(" " + op.sign + " ")
		w.within(args[1], op.binds+1)
	default:
		w.function(c)
	}
}

func (w *writer) function(c ast.CallExpr) {
	if c.IsMemberFunction() {
		w.within(c.Target(), bindsMember)
		w.b.WriteByte('.')
	}
	w.b.WriteString(strings.TrimPrefix(c.FunctionName(), "@") + "(")
	w.list(c.Args())
	w.b.WriteByte(')')
}

func (w *writer) macro(e ast.Expr) {
	m, ok := macroOf(e)
	if !ok {
		return
	}
	w.within(m.over, bindsMember)
	w.b.WriteString("." + strings.TrimPrefix(m.macro, "@") + "(" + m.variable)
	for _, arg := range []ast.Expr{m.where, m.each} {
		if arg != nil {
			w.b.WriteString(", ")
			w.expr(arg)
		}
	}
	w.b.WriteByte(')')
}
