package rules

import (
	"fmt"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"

	"github.com/segmentd/segmentd/state/subject"
)

// numbers is a range of numbers that holds every number a value can be.
type numbers struct {
	low, high *bound // nil: none
	sure      bool   // the value is a number, never null or of another kind
	whole     bool   // it is no fraction
}

// bound is an end of a range.
type bound struct {
	n    subject.Number
	open bool // n itself lies outside
}

func exactly(n subject.Number) numbers {
	b := &bound{n: n}
	return numbers{low: b, high: b, sure: true}
}

// wholes is the range of whole numbers from low to high; a negative high is none.
func wholes(low, high int64, sure bool) numbers {
	r := numbers{low: &bound{n: subject.Int(low)}, sure: sure, whole: true}
	if high >= 0 {
		r.high = &bound{n: subject.Int(high)}
	}
	return r
}

// numbers finds the range of an expression's value.
func (j *judge) numbers(e ast.Expr) numbers {
	switch e.Kind() {
	case ast.LiteralKind:
		if v, ok := constantOf(e); ok && v.Kind() == subject.NumberKind {
			return exactly(v.Number())
		}
	case ast.IdentKind:
		if let := j.lets[e.AsIdent()]; let != nil && let.typed != nil && let.sort == valueSort {
			return j.of(let).numbers(let.tree.Expr())
		}
	case ast.CallKind:
		return j.callNumbers(e.AsCall())
	}
	return numbers{}
}

func (j *judge) callNumbers(call ast.CallExpr) numbers {
	switch name := call.FunctionName(); name {
	case "count", "distinct", "days", "periods", "sum":
		if call.IsMemberFunction() {
			return j.counted(call)
		}
	case "local_hour":
		return wholes(0, 23, true)
	case "local_weekday":
		return wholes(0, 6, true)
	case "size":
		return wholes(0, -1, false)
	case "bucket":
		return numbers{low: &bound{n: subject.Int(0)}, high: &bound{n: subject.Int(1), open: true}, sure: true}
	case operators.Negate:
		if v, ok := constantOf(call.Args()[0]); ok && v.Kind() == subject.NumberKind {
			return exactly(v.Number().Neg())
		}
	default:
		if r, ok := getterRanges[name]; ok && call.IsMemberFunction() {
			return wholes(r[0], r[1], false)
		}
	}
	return numbers{}
}

// getterRanges are the least and the greatest number that getters give.
var getterRanges = map[string][2]int64{
	"getMonth": {0, 11}, "getDate": {1, 31}, "getDayOfMonth": {0, 30}, "getDayOfYear": {0, 365}, "getDayOfWeek": {0, 6},
	"getHours": {0, 23}, "getMinutes": {0, 59}, "getSeconds": {0, 59}, "getMilliseconds": {0, 999},
}

// counted finds the range of an aggregate that counts, or sums.
func (j *judge) counted(call ast.CallExpr) numbers {
	if j.empty(call).answer == neverHolds {
		return exactly(subject.Int(0))
	}
	w, _ := j.windowOf(call.Target())
	switch call.FunctionName() {
	case "sum":
		return numbers{}
	case "days":
		return wholes(0, w.mostDays(call.Args()[0]), true)
	case "periods":
		return wholes(0, w.mostPeriods(microsOf(call.Args()[0])), true)
	}
	return wholes(0, -1, true)
}

// mostDays is on how many days of a zone the events of a window can lie, or
// more; -1: any number.
func (w *window) mostDays(zone ast.Expr) int64 {
	name, _ := stringLiteral(zone)
	z, err := loadZone(name)
	if err != nil {
		return -1
	}
	most := int64(-1)
	if span := w.longest(); span != unbounded {
		most = (span-w.lag+z.spread())/microsPer['d'] + 2
	}
	for _, m := range w.midnights {
		if m.zone.name == name && (most < 0 || m.days+1 < most) {
			most = m.days + 1
		}
	}
	return most
}

// mostPeriods is into how many periods the events of a window can fall; -1: any number.
func (w *window) mostPeriods(width int64) int64 {
	span := w.longest()
	if span == unbounded || width == 0 {
		return -1
	}
	return (span-1)/width - w.lag/width + 1
}

// compareRanges says whether a op b never or always holds. A value that is no
// number makes every order false, and may equal another that is none.
func compareRanges(a, b numbers, op comparison) answer {
	switch op {
	case equal:
		return equalRanges(a, b)
	case notEqual:
		return equalRanges(a, b).negated()
	case greater, greaterEqual:
		return compareRanges(b, a, op.flipped())
	}
	sure := a.sure && b.sure
	strict := op == less
	switch {
	case below(b, a, strict):
		return neverHolds
	case sure && below(a, b, !strict):
		return alwaysHolds
	}
	return undecided
}

// below reports whether every number of a is less than every number of b; with
// touching, less or equal.
func below(a, b numbers, touching bool) bool {
	if a.high == nil || b.low == nil {
		return false
	}
	c := a.high.n.Cmp(b.low.n)
	return c < 0 || c == 0 && (touching || a.high.open || b.low.open)
}

func equalRanges(a, b numbers) answer {
	switch {
	case (a.sure || b.sure) && (below(a, b, false) || below(b, a, false)):
		return neverHolds
	case a.whole && b.fraction() || b.whole && a.fraction():
		return neverHolds
	case a.sure && b.sure && a.single() && b.single() && a.low.n.Cmp(b.low.n) == 0:
		return alwaysHolds
	}
	return undecided
}

func (r numbers) single() bool {
	return r.low != nil && r.high != nil && !r.low.open && !r.high.open && r.low.n.Cmp(r.high.n) == 0
}

// fraction reports whether the value is one number that is not whole.
func (r numbers) fraction() bool { return r.sure && r.single() && r.low.n.Trunc().Cmp(r.low.n) != 0 }

// meet intersects two ranges.
func (r numbers) meet(o numbers) numbers {
	if r.low == nil || o.low != nil && (o.low.n.Cmp(r.low.n) > 0 || o.low.n.Cmp(r.low.n) == 0 && o.low.open) {
		r.low = o.low
	}
	if r.high == nil || o.high != nil && (o.high.n.Cmp(r.high.n) < 0 || o.high.n.Cmp(r.high.n) == 0 && o.high.open) {
		r.high = o.high
	}
	return r
}

func (r numbers) isEmpty() bool {
	if r.low == nil || r.high == nil {
		return false
	}
	c := r.low.n.Cmp(r.high.n)
	return c > 0 || c == 0 && (r.low.open || r.high.open)
}

// contradiction finds comparisons of one expression with constants that cannot
// hold together.
func (j *judge) contradiction(parts []ast.Expr) verdict {
	ranges := make(map[string]numbers)
	texts := make(map[string]string)
	for _, p := range parts {
		x, op, c, ok := constantComparison(p)
		if !ok {
			continue
		}
		key := shape(x)
		at := j.f.at(p.ID())
		reason := "this contradicts another comparison of the same value in this conjunction"
		if c.Kind() == subject.String {
			if before, again := texts[key]; again && op == equal && before != c.Str() {
				return verdict{neverHolds, at, reason}
			}
			if op == equal {
				texts[key] = c.Str()
			}
			continue
		}
		ranges[key] = ranges[key].meet(admitted(op, c.Number()))
		if ranges[key].isEmpty() {
			return verdict{neverHolds, at, reason}
		}
	}
	return verdict{}
}

// constantComparison reads x op constant, whichever side the constant is on.
func constantComparison(e ast.Expr) (x ast.Expr, op comparison, c subject.Value, ok bool) {
	if e.Kind() != ast.CallKind || len(e.AsCall().Args()) != 2 {
		return nil, 0, null, false
	}
	op, ok = comparisons[e.AsCall().FunctionName()]
	if !ok || op == notEqual {
		return nil, 0, null, false
	}
	a, b := e.AsCall().Args()[0], e.AsCall().Args()[1]
	if c, ok = constantOf(b); ok {
		return a, op, c, a.Kind() != ast.LiteralKind
	}
	c, ok = constantOf(a)
	return b, op.flipped(), c, ok
}

// admitted is the range of numbers for which a comparison with n holds.
func admitted(op comparison, n subject.Number) numbers {
	b := &bound{n: n, open: op == less || op == greater}
	switch op {
	case less, lessEqual:
		return numbers{high: b}
	case greater, greaterEqual:
		return numbers{low: b}
	}
	return numbers{low: b, high: b}
}

// shape writes an expression so that equal texts are equal expressions.
func shape(e ast.Expr) string {
	var b strings.Builder
	writeShape(&b, e)
	return b.String()
}

func writeShape(b *strings.Builder, e ast.Expr) {
	switch e.Kind() {
	case ast.IdentKind:
		b.WriteString(e.AsIdent())
	case ast.LiteralKind:
		fmt.Fprintf(b, "%T %#v ", e.AsLiteral(), e.AsLiteral().Value())
	case ast.SelectKind:
		writeShapes(b, "."+e.AsSelect().FieldName(), e.AsSelect().Operand())
	case ast.CallKind:
		parts := e.AsCall().Args()
		if e.AsCall().IsMemberFunction() {
			parts = append([]ast.Expr{e.AsCall().Target()}, parts...)
		}
		writeShapes(b, e.AsCall().FunctionName(), parts...)
	case ast.ListKind:
		writeShapes(b, "list", e.AsList().Elements()...)
	case ast.MapKind:
		var parts []ast.Expr
		for _, entry := range e.AsMap().Entries() {
			parts = append(parts, entry.AsMapEntry().Key(), entry.AsMapEntry().Value())
		}
		writeShapes(b, "map", parts...)
	case ast.ComprehensionKind:
		m, _ := macroOf(e)
		writeShapes(b, m.macro+" "+m.variable, m.over, m.where, m.each)
	}
}

// writeShapes writes what joins expressions, and them.
func writeShapes(b *strings.Builder, what string, parts ...ast.Expr) {
	b.WriteString("(" + what)
	for _, p := range parts {
		b.WriteString(", ")
		if p != nil {
			writeShape(b, p)
		}
	}
	b.WriteString(")")
}
