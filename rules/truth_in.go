package rules

import "cel.dev/cel-go/common/ast"

// in judges x in [a, b, …] as comparisons of x with each element.
func (j *judge) in(e ast.Expr) verdict {
	x, list := e.AsCall().Args()[0], e.AsCall().Args()[1]
	if list.Kind() != ast.ListKind || len(list.AsList().Elements()) == 0 {
		return verdict{}
	}
	left := j.numbers(x)
	var never []ast.Expr
	for _, element := range list.AsList().Elements() {
		if equalRanges(left, j.numbers(element)) == neverHolds {
			never = append(never, element)
		}
	}
	if len(never) < len(list.AsList().Elements()) {
		for _, element := range never {
			j.found[j.f.at(element.ID())] = "what is looked for is never equal to this"
		}
		return verdict{}
	}
	v := verdict{neverHolds, j.f.at(e.ID()), "this comparison is never true"}
	j.found[v.at] = v.reason
	return v
}
