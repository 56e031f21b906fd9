package rules

import (
	"cel.dev/cel-go/common/operators"

	"github.com/segmentd/segmentd/state/subject"
)

// comparison is one of the six comparing operators.
type comparison uint8

const (
	equal comparison = iota
	notEqual
	less
	lessEqual
	greater
	greaterEqual
)

// comparisons are the operators by the names CEL gives their functions.
var comparisons = map[string]comparison{
	operators.Equals: equal, operators.NotEquals: notEqual, operators.Less: less,
	operators.LessEquals: lessEqual, operators.Greater: greater, operators.GreaterEquals: greaterEqual,
}

// String is the operator as it is written.
func (op comparison) String() string { return [...]string{"==", "!=", "<", "<=", ">", ">="}[op] }

// flipped is the operator with its sides exchanged.
func (op comparison) flipped() comparison {
	return [...]comparison{equal, notEqual, greater, greaterEqual, less, lessEqual}[op]
}

// ordering reports whether the operator needs an order.
func (op comparison) ordering() bool { return op >= less }

// holds judges the result of a three-way comparison.
func (op comparison) holds(c int) bool {
	switch op {
	case equal:
		return c == 0
	case notEqual:
		return c != 0
	case less:
		return c < 0
	case lessEqual:
		return c <= 0
	case greater:
		return c > 0
	}
	return c >= 0
}

// values compares two values of any kind: an order between kinds is false,
// null equals only null.
func (op comparison) values(a, b subject.Value) bool {
	switch op {
	case equal:
		return a.Equal(b)
	case notEqual:
		return !a.Equal(b)
	}
	c, ok := a.Compare(b)
	return ok && op.holds(c)
}
