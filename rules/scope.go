package rules

import (
	"slices"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
)

// scope is where an expression stands: in which rule and let, inside or outside
// of an event's scope, under which macros' variables.
type scope struct {
	*compiler
	rule    *ruleDraft
	let     int  // index of the let whose text it is; -1: the rule's own
	stay    bool // in the rule's stay_while
	inEvent bool
	vars    []variable
	depth   int // locals in use

	follower bool       // the source at hand follows another
	absent   bool       // … and must not come
	pair     *pairScope // of a conjunct of two events
}

// variable is a list macro's variable.
type variable struct {
	name  string
	local int // index into scratch.locals
}

// fail notes a problem and returns a node to go on with.
func (s *scope) fail(e ast.Expr, message string) node {
	problem := exprError{s.place(e), message}
	if !slices.Contains(s.problems, problem) { // a let may stand in many rules
		s.problems = append(s.problems, problem)
	}
	return literal(null)
}

// place is where an expression of the scope's text stands.
func (s *scope) place(e ast.Expr) exprPlace {
	if s.let >= 0 {
		return exprPlace{segment: -1, let: s.let, exprID: e.ID()}
	}
	return exprPlace{segment: s.rule.segment, stay: s.stay, let: -1, exprID: e.ID()}
}

// variable returns the local of a macro's variable.
func (s *scope) variable(name string) (local int, ok bool) {
	for i := len(s.vars) - 1; i >= 0; i-- {
		if s.vars[i].name == name {
			return s.vars[i].local, true
		}
	}
	return 0, false
}

// bind returns the scope of a macro's body.
func (s *scope) bind(name string) *scope {
	inner := *s
	inner.vars = append(s.vars[:len(s.vars):len(s.vars)], variable{name: name, local: s.depth})
	inner.depth++
	return &inner
}

// ofEvent returns the scope of where() and of aggregates' arguments.
func (s *scope) ofEvent() *scope {
	inner := *s
	inner.inEvent, inner.vars, inner.depth = true, nil, 0
	return &inner
}

// resolve follows names of lets to what they stand for.
func (s *scope) resolve(e ast.Expr) (ast.Expr, *scope) {
	for e.Kind() == ast.IdentKind {
		i, ok := s.letNamed(e.AsIdent())
		if !ok {
			break
		}
		inner := *s
		inner.let, inner.vars = i, nil
		e, s = s.set.lets[i].ast.Expr(), &inner
	}
	return e, s
}

// letNamed finds a let by name: inside of a let only those before it.
func (s *scope) letNamed(name string) (int, bool) {
	if _, shadowed := s.variable(name); shadowed {
		return 0, false
	}
	i, ok := s.letIndex[name]
	return i, ok && (s.let < 0 || i < s.let)
}

// access is a chain of constant keys on a base: traits.address.city.
type access struct {
	base  ast.Expr
	scope *scope // of the base
	keys  []string
}

// access takes off the constant keys of e.
func (s *scope) access(e ast.Expr) access {
	var reversed []string
	for {
		e, s = s.resolve(e)
		operand, key, ok := constantKey(e)
		if !ok {
			break
		}
		reversed = append(reversed, key)
		e = operand
	}
	keys := make([]string, len(reversed))
	for i, k := range reversed {
		keys[len(keys)-1-i] = k
	}
	return access{base: e, scope: s, keys: keys}
}

// constantKey reads x.key and x["key"].
func constantKey(e ast.Expr) (operand ast.Expr, key string, ok bool) {
	switch e.Kind() {
	case ast.SelectKind:
		return e.AsSelect().Operand(), e.AsSelect().FieldName(), true
	case ast.CallKind:
		c := e.AsCall()
		if c.FunctionName() != operators.Index || len(c.Args()) != 2 {
			return nil, "", false
		}
		key, ok = stringLiteral(c.Args()[1])
		return c.Args()[0], key, ok
	}
	return nil, "", false
}

func stringLiteral(e ast.Expr) (string, bool) {
	if e.Kind() != ast.LiteralKind {
		return "", false
	}
	s, ok := e.AsLiteral().(types.String)
	return string(s), ok
}

// root returns the name of a builtin variable that a base is, "" if it is none.
func (a access) root() string {
	if a.base.Kind() != ast.IdentKind {
		return ""
	}
	name := a.base.AsIdent()
	if _, local := a.scope.variable(name); local {
		return ""
	}
	return name
}

// methodCall returns the call that e is, once resolved, if it is a method of
// that many arguments.
func (s *scope) methodCall(e ast.Expr, args int) (name string, c ast.CallExpr, in *scope, at ast.Expr) {
	e, s = s.resolve(e)
	if e.Kind() != ast.CallKind || !e.AsCall().IsMemberFunction() || len(e.AsCall().Args()) != args {
		return "", nil, s, e
	}
	return e.AsCall().FunctionName(), e.AsCall(), s, e
}
