package rules

import (
	"fmt"
	"regexp"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"

	"github.com/segmentd/segmentd/state/subject"
)

// unary are the functions of one value.
var unary = map[string]func(subject.Value) subject.Value{
	operators.Negate: negate,
	"size":           sizeOf,
	"string":         toString,
	"double":         toDouble,
	"int":            toInt,
	"timestamp":      toTimestamp,
	"duration":       toDuration,
	"lowerAscii":     onString(lowerASCII),
	"upperAscii":     onString(upperASCII),
	"trim":           onString(strings.TrimSpace),
}

// arithmetic are the operators of two values.
var arithmetic = map[string]struct {
	sign  string
	apply func(a, b subject.Value) subject.Value
}{
	operators.Add:      {"+", add},
	operators.Subtract: {"-", subtract},
	operators.Multiply: {"*", multiply},
	operators.Divide:   {"/", divide},
	operators.Modulo:   {"%", remainder},
}

// textTests are the predicates of two strings; false of anything else.
var textTests = map[string]func(s, part string) bool{
	"startsWith": strings.HasPrefix,
	"endsWith":   strings.HasSuffix,
	"contains":   strings.Contains,
	"matches":    matches,
}

// matches is used for patterns that are no literals; RE2 keeps it linear.
func matches(s, pattern string) bool {
	re, err := regexp.Compile(pattern)
	return err == nil && re.MatchString(s)
}

// function compiles the functions of values.
func (s *scope) function(e ast.Expr) node {
	c := e.AsCall()
	name := c.FunctionName()
	args := c.Args()
	if c.IsMemberFunction() {
		args = append([]ast.Expr{c.Target()}, args...)
	}
	if getters[name] != nil && c.IsMemberFunction() {
		return s.getter(e)
	}
	if f, ok := unary[name]; ok && len(args) == 1 {
		x := s.compile(args[0])
		return valued(call(name, x), func(v *View) subject.Value { return f(x.value(v)) }).folded(x)
	}
	if a, ok := arithmetic[name]; ok && len(args) == 2 {
		x, y := s.compile(args[0]), s.compile(args[1])
		return valued(infix(x, a.sign, y), func(v *View) subject.Value { return a.apply(x.value(v), y.value(v)) }).folded(x, y)
	}
	if test, ok := textTests[name]; ok && len(args) == 2 {
		return s.textTest(e, args, test)
	}
	if name == "split" && len(args) >= 2 {
		return s.split(args)
	}
	return s.fail(e, name+"() is not part of the rule language")
}

func (s *scope) textTest(e ast.Expr, args []ast.Expr, test func(s, part string) bool) node {
	name := e.AsCall().FunctionName()
	x, y := s.compile(args[0]), s.compile(args[1])
	text := call(name, x, y)
	if !y.constant {
		return judged(text, func(v *View) bool {
			a, b := x.value(v), y.value(v)
			return a.Kind() == subject.String && b.Kind() == subject.String && test(a.Str(), b.Str())
		})
	}
	part := y.constantValue()
	if part.Kind() != subject.String {
		return literal(subject.False)
	}
	if name == "matches" {
		re, err := regexp.Compile(part.Str())
		if err != nil {
			return s.fail(args[1], fmt.Sprintf("not a regular expression (RE2): %v", err))
		}
		test = func(s, _ string) bool { return re.MatchString(s) }
	}
	constant := part.Str()
	return judged(text, func(v *View) bool {
		a := x.value(v)
		return a.Kind() == subject.String && test(a.Str(), constant)
	}).folded(x, y)
}

func (s *scope) split(args []ast.Expr) node {
	n := s.compileAll(args)
	return valued(call("split", n...), func(v *View) subject.Value {
		parts := int64(-1)
		if len(n) == 3 {
			n := n[2].value(v)
			limit, whole := n.Number().Int64()
			if n.Kind() != subject.NumberKind || !whole {
				return null
			}
			parts = max(min(limit, 1<<20), -1)
		}
		return split(n[0].value(v), n[1].value(v), int(parts))
	}).folded(n...)
}
