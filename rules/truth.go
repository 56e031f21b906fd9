package rules

import (
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
)

// answer is what can be said of a condition without any input.
type answer uint8

const (
	undecided answer = iota
	neverHolds
	alwaysHolds
)

func (a answer) negated() answer { return [...]answer{undecided, alwaysHolds, neverHolds}[a] }

// verdict is an answer and what decides it.
type verdict struct {
	answer answer
	at     spot
	reason string
}

func (v verdict) negated() verdict {
	v.answer = v.answer.negated()
	return v
}

// judge finds conditions that can never, or always, hold. It claims only what
// is true of every input.
type judge struct {
	*checker
	f     *formula
	kept  int64           // the purpose's retention in microseconds; 0: not known
	found map[spot]string // warnings of conditions within, by place
}

// of judges a let that the formula uses.
func (j *judge) of(let *formula) *judge { return &judge{j.checker, let, j.kept, j.found} }

// verdict judges a condition.
func (j *judge) verdict(e ast.Expr) verdict {
	switch e.Kind() {
	case ast.LiteralKind:
		return j.constant(e)
	case ast.IdentKind:
		return j.let(e)
	case ast.CallKind:
		return j.call(e)
	}
	return verdict{}
}

func (j *judge) constant(e ast.Expr) verdict {
	switch e.AsLiteral().Value() {
	case true:
		return verdict{alwaysHolds, j.f.at(e.ID()), "true is always true"}
	case false:
		return verdict{neverHolds, j.f.at(e.ID()), "false is never true"}
	}
	return verdict{}
}

// let judges a name by what it stands for. (Macros' variables that hide it are
// not reached: bodies of macros are not judged.)
func (j *judge) let(e ast.Expr) verdict {
	if let := j.lets[e.AsIdent()]; let != nil && let.typed != nil && !let.failed {
		return j.of(let).verdict(let.tree.Expr())
	}
	return verdict{}
}

func (j *judge) call(e ast.Expr) verdict {
	call := e.AsCall()
	if op, ok := comparisons[call.FunctionName()]; ok && len(call.Args()) == 2 {
		return j.comparison(e, op)
	}
	switch call.FunctionName() {
	case operators.LogicalAnd:
		return j.and(e)
	case operators.LogicalOr:
		a, b := j.verdict(call.Args()[0]), j.verdict(call.Args()[1])
		return joinVerdicts(a, b, alwaysHolds)
	case operators.LogicalNot:
		return j.verdict(call.Args()[0]).negated()
	case operators.Conditional:
		return j.conditional(call)
	case operators.In:
		return j.in(e)
	case "exists":
		if v := j.empty(call); v.answer == neverHolds {
			return v
		}
	case "held":
		if v := j.verdict(call.Args()[0]); v.answer == neverHolds {
			return v
		}
	}
	return verdict{}
}

func (j *judge) conditional(call ast.CallExpr) verdict {
	cond, a, b := j.verdict(call.Args()[0]), j.verdict(call.Args()[1]), j.verdict(call.Args()[2])
	switch cond.answer {
	case alwaysHolds:
		return a
	case neverHolds:
		return b
	}
	if a.answer == b.answer {
		return a
	}
	return verdict{}
}

// joinVerdicts joins the sides of || (deciding: alwaysHolds) or && (neverHolds).
func joinVerdicts(a, b verdict, deciding answer) verdict {
	switch {
	case a.answer == deciding:
		return a
	case b.answer == deciding || a.answer == b.answer:
		return b
	}
	return verdict{}
}

// and judges a conjunction, together with those nested in it.
func (j *judge) and(e ast.Expr) verdict {
	var parts []ast.Expr
	var flatten func(e ast.Expr)
	flatten = func(e ast.Expr) {
		if e.Kind() == ast.CallKind && e.AsCall().FunctionName() == operators.LogicalAnd {
			for _, arg := range e.AsCall().Args() {
				flatten(arg)
			}
			return
		}
		parts = append(parts, e)
	}
	flatten(e)
	all := j.verdict(parts[0])
	for _, p := range parts[1:] {
		all = joinVerdicts(all, j.verdict(p), neverHolds)
	}
	if all.answer == neverHolds {
		return all
	}
	if v := j.contradiction(parts); v.answer == neverHolds {
		j.found[v.at] = v.reason
		return v
	}
	return all
}

// comparison judges a comparison by the numbers its sides can be.
func (j *judge) comparison(e ast.Expr, op comparison) verdict {
	x, y := e.AsCall().Args()[0], e.AsCall().Args()[1]
	result := compareRanges(j.numbers(x), j.numbers(y), op)
	if result == undecided {
		return verdict{}
	}
	v := verdict{answer: result, at: j.f.at(e.ID()), reason: "this comparison is never true"}
	if result == alwaysHolds {
		v.reason = "this comparison is always true"
		return v
	}
	if x.Kind() != ast.LiteralKind || y.Kind() != ast.LiteralKind {
		j.found[v.at] = v.reason
	}
	return v
}
