package rules

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strconv"

	"cel.dev/cel-go/common/ast"

	"github.com/segmentd/segmentd/state/subject"
)

// ruleCall compiles the functions of the subject and of T, and refuses what
// cannot stand as a value; ok is false for other functions.
func (s *scope) ruleCall(e ast.Expr) (n node, ok bool) {
	switch e.AsCall().FunctionName() {
	case "segment":
		return s.segmentCall(e), true
	case "list":
		return s.listCall(e), true
	case "bucket":
		return s.bucketCall(e), true
	case "held":
		return s.held(e), true
	case "anniversary":
		return s.anniversary(e), true
	case "local_hour", "local_weekday":
		return s.wallClock(e), true
	case "ago", "ahead":
		return s.clockAlone(e), true
	case "events":
		return s.sourceAlone(e), true
	}
	return node{}, false
}

// nameArgument returns the literal text that a function outside of event scope takes.
func (s *scope) nameArgument(e ast.Expr) (string, bool) {
	c := e.AsCall()
	if s.inEvent {
		s.fail(e, c.FunctionName()+"() is not known inside where(...) and aggregates")
		return "", false
	}
	name, ok := stringLiteral(c.Args()[0])
	if !ok {
		s.fail(c.Args()[0], c.FunctionName()+"() takes a literal string")
	}
	return name, ok
}

func (s *scope) segmentCall(e ast.Expr) node {
	key, ok := s.nameArgument(e)
	if !ok {
		return literal(null)
	}
	for i := range s.set.segments {
		if other := &s.set.segments[i]; other.key == key {
			if other.purpose != s.purpose() {
				return s.fail(e, fmt.Sprintf("segment %q has another purpose", key))
			}
			s.rule.refs[key] = true
			s.rule.outliner.reads().segment = key
			id := hash32(key)
			return judged("segment("+strconv.Quote(key)+")", func(v *View) bool {
				_, in := v.Purpose.Member(id)
				return in
			})
		}
	}
	return s.fail(e, fmt.Sprintf("unknown segment %q", key))
}

func (s *scope) listCall(e ast.Expr) node {
	key, ok := s.nameArgument(e)
	if !ok {
		return literal(null)
	}
	l := s.set.lists[key]
	if l == nil {
		return s.fail(e, fmt.Sprintf("unknown list %q", key))
	}
	s.rule.lists[key] = true
	return judged("list("+strconv.Quote(key)+")", func(v *View) bool {
		_, in := l.members[v.Subject.Value]
		return in
	})
}

func (s *scope) bucketCall(e ast.Expr) node {
	salt, ok := s.nameArgument(e)
	if !ok {
		return literal(null)
	}
	return valued("bucket("+strconv.Quote(salt)+")", func(v *View) subject.Value { return bucket(salt, v.Subject) })
}

// bucket is the first 53 bits of SHA-256(salt, 0, id type, 0, id) as a fraction.
func bucket(salt string, id subject.ID) subject.Value {
	var room [256]byte
	b := append(append(room[:0], salt...), 0)
	b = append(append(b, id.Type.String()...), 0)
	sum := sha256.Sum256(append(b, id.Value...))
	return number(subject.Float(float64(binary.BigEndian.Uint64(sum[:])>>11) / (1 << 53)))
}

func (s *scope) sourceAlone(e ast.Expr) node {
	return s.fail(e, "a source is no value: end it with an aggregate such as .exists() or .count()")
}

func (s *scope) clockAlone(e ast.Expr) node {
	return s.fail(e, e.AsCall().FunctionName()+"() must stand alone on one side of <, <=, > or >=, with a timestamp that does not depend on the present instant on the other: when its answer changes cannot be computed here")
}

// clock reads ago(d) and ahead(d) as the microseconds before T.
func (s *scope) clock(e ast.Expr) (before int64, at ast.Expr, ok bool) {
	e, _ = s.resolve(e)
	if e.Kind() != ast.CallKind || e.AsCall().IsMemberFunction() {
		return 0, e, false
	}
	c := e.AsCall()
	if c.FunctionName() != "ago" && c.FunctionName() != "ahead" {
		return 0, e, false
	}
	text, _ := stringLiteral(c.Args()[0])
	micros, err := parseDuration(text)
	if err != nil {
		s.fail(c.Args()[0], err.Error())
	}
	if c.FunctionName() == "ahead" {
		micros = -micros
	}
	return micros, e, true
}

// clockComparison compiles t < ago(d) and its kin; ok is false if e is none.
func (s *scope) clockComparison(e ast.Expr, op comparison) (n node, ok bool) {
	a, b := e.AsCall().Args()[0], e.AsCall().Args()[1]
	before, clock, left := s.clock(a)
	if left {
		a, b, op = b, a, op.flipped()
	} else if before, clock, ok = s.clock(b); !ok {
		return node{}, false
	}
	if s.inEvent || len(s.vars) > 0 || !op.ordering() {
		return s.clockAlone(clock), true
	}
	// a second clock on the other side is refused when it is compiled as a value
	t := s.compile(a)
	text := infix(t, op.String(), node{text: "ago(" + strconv.Quote(durationText(before)) + ")"})
	c := clockTest{time: t.value, op: op, before: before}
	s.rule.turn(text, c.turn)
	return judged(text, c.holds), true
}

// clockTest compares a timestamp with T − before.
type clockTest struct {
	time   valueFn
	op     comparison
	before int64 // microseconds; negative: ahead
}

func (c clockTest) holds(v *View) bool {
	t := c.time(v)
	return t.Kind() == subject.Time && c.op.values(t, subject.OfTime(after(v.At, -c.before)))
}

// turn is the instant at which the answer changes: t < T − d and t >= T − d do
// one microsecond after t + d, the others at it.
func (c clockTest) turn(v *View) subject.Instant {
	t := c.time(v)
	if t.Kind() != subject.Time {
		return subject.Never
	}
	at := after(t.Instant(), c.before)
	if c.op == less || c.op == greaterEqual {
		at = after(at, 1)
	}
	if at <= v.At {
		return subject.Never
	}
	return at
}
