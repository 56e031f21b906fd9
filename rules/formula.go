package rules

import (
	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
)

// formula is an expression of a rule file under check: a let or a segment's rule.
type formula struct {
	let    string // its name; "" for a rule
	text   *ruleText
	parsed *cel.Ast // nil if it does not parse
	tree   *ast.AST // of parsed
	typed  *ast.AST // nil if it does not check
	typ    *cel.Type

	failed   bool           // an error was reported for it
	reported map[int64]bool // expressions that one was reported for
	sort     sort
	kinds    kindSet
	constant bool // depends on nothing of the subject
	facts    facts
}

// sort is what an expression stands for.
type sort uint8

const (
	valueSort  sort = iota
	sourceSort      // of events
	eventSort       // one event out of a source
	unknownSort
)

// facts are what a formula says that is judged by its purpose, or against
// other formulas and the sample. Those of lets are not in it.
type facts struct {
	reads   []fieldRead
	windows []windowUse
	names   []nameUse // of events
	refs    []nameUse // of segments
	lists   []nameUse // by key
	lets    []string
}

// fieldRead is a field that a formula reads, from "properties", "context" or "traits" on.
type fieldRead struct {
	keys []string
	at   spot
}

// windowUse is the far end of a rolling window.
type windowUse struct {
	micros int64
	text   string
	at     spot
}

// nameUse is a name written as a literal.
type nameUse struct {
	name string
	at   spot
}

// at is the place of an expression: of the name of a function or field, of the
// sign of an operator.
func (f *formula) at(id int64) spot {
	r, ok := f.tree.SourceInfo().GetOffsetRange(id)
	if !ok {
		return f.text.start()
	}
	return f.text.at(wordAt(f.text.runes, int(r.Start)))
}

// wordAt moves from where CEL's parser puts a call (its parenthesis) or a
// selection (its dot) to the name.
func wordAt(runes []rune, offset int) int {
	if offset < 0 || offset >= len(runes) {
		return offset
	}
	switch runes[offset] {
	case '(', '{':
		i := offset - 1
		for i >= 0 && isBlank(runes[i]) {
			i--
		}
		end := i
		for i >= 0 && isWordRune(runes[i]) {
			i--
		}
		if i < end {
			return i + 1
		}
	case '.':
		for i := offset + 1; i < len(runes); i++ {
			if !isBlank(runes[i]) {
				return i
			}
		}
	}
	return offset
}

// start is the place of the first word of an expression.
func (f *formula) start(e ast.Expr) spot {
	for {
		switch {
		case e.Kind() == ast.SelectKind:
			e = e.AsSelect().Operand()
		case e.Kind() == ast.CallKind && e.AsCall().IsMemberFunction():
			e = e.AsCall().Target()
		case e.Kind() == ast.CallKind && len(e.AsCall().Args()) > 1 && signs[e.AsCall().FunctionName()] != "":
			e = e.AsCall().Args()[0]
		case e.Kind() == ast.ComprehensionKind:
			e = e.AsComprehension().IterRange()
		default:
			return f.at(e.ID())
		}
	}
}

// find returns the expression with an id, nil if there is none.
func (f *formula) find(id int64) ast.Expr {
	var found ast.Expr
	ast.PreOrderVisit(f.tree.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.ID() == id && found == nil {
			found = e
		}
	}))
	return found
}
