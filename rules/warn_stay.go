package rules

import (
	"cel.dev/cel-go/common/ast"

	"github.com/segmentd/segmentd/state/subject"
)

// warnStay reports a stay_while that changes nothing, or lets nobody out.
func (c *checker) warnStay(j *judge, when *formula, key string) {
	x, y := when.tree.Expr(), j.f.tree.Expr()
	switch {
	case c.warnVerdict(j, "so stay_while of the segment '"+key+"' %s holds"):
	case shape(x) == shape(y):
		c.warnf(j.f.start(y), "stay_while is the same as when: it has no effect")
	case narrows(x, y):
		c.warnf(j.f.start(y), "stay_while never holds but where when does: it has no effect")
	}
}

// narrows reports whether two comparisons of one value with a constant number
// are such that the second never holds but where the first does.
func narrows(first, second ast.Expr) bool {
	x, op, c, ok := constantComparison(first)
	y, op2, c2, ok2 := constantComparison(second)
	if !ok || !ok2 || c.Kind() != subject.NumberKind || c2.Kind() != subject.NumberKind || shape(x) != shape(y) {
		return false
	}
	wide, narrow := admitted(op, c.Number()), admitted(op2, c2.Number())
	return wide.meet(narrow).sameAs(narrow)
}

func (r numbers) sameAs(o numbers) bool { return r.low.sameAs(o.low) && r.high.sameAs(o.high) }

func (b *bound) sameAs(o *bound) bool {
	if b == nil || o == nil {
		return b == o
	}
	return b.open == o.open && b.n.Cmp(o.n) == 0
}

// warnAges reports a minimum age of a purpose without segments.
func (c *checker) warnAges() {
	for i := range c.purposes {
		p := &c.purposes[i]
		used := false
		for j := range c.sections.segments {
			used = used || c.sections.segments[j].purpose == p.Key
		}
		if p.MinAge > 0 && !used {
			c.warnf(p.ageAt, "no segment has the purpose '%s': its min_age has no effect", p.Key)
		}
	}
}
