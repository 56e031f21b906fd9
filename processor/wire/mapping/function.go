package mapping

import (
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"github.com/segmentd/segmentd/state/subject"
)

// ownFunctions declare what CEL has otherwise: arithmetic over one kind of
// numbers, string() of all of them; and some functions of texts.
func ownFunctions() []cel.EnvOption {
	str, list, dyn := cel.StringType, cel.ListType(cel.StringType), cel.DynType
	ts, dur, any := cel.TimestampType, cel.DurationType, cel.ListType(cel.TypeParamType("A"))
	return []cel.EnvOption{
		arithmetic(operators.Add, add, subject.Number.Add, overload("add_string", str, str, str), overload("add_time", ts, ts, dur),
			overload("add_to_time", ts, dur, ts), overload("add_duration", dur, dur, dur), overload("add_list", any, any, any)),
		arithmetic(operators.Subtract, subtract, subject.Number.Sub, overload("subtract_times", dur, ts, ts), overload("subtract_duration", ts, ts, dur),
			overload("subtract_durations", dur, dur, dur)),
		arithmetic(operators.Multiply, nil, subject.Number.Mul),
		arithmetic(operators.Divide, nil, subject.Number.Quo),
		arithmetic(operators.Modulo, nil, subject.Number.Rem),
		cel.Function("string", overload("string_of", str, dyn), cel.SingletonUnaryBinding(toString)),
		textFunction("lowerAscii", func(s string) string { return strings.Map(lower, s) }),
		textFunction("upperAscii", func(s string) string { return strings.Map(upper, s) }),
		textFunction("trim", strings.TrimSpace),
		cel.Function("split", cel.MemberOverload("split_by", []*cel.Type{str, str}, list), cel.SingletonBinaryBinding(split)),
		cel.Function("substring",
			cel.MemberOverload("substring_from", []*cel.Type{str, cel.IntType}, str, cel.BinaryBinding(func(s, from ref.Val) ref.Val { return substring(s, from) })),
			cel.MemberOverload("substring_between", []*cel.Type{str, cel.IntType, cel.IntType}, str, cel.FunctionBinding(substring))),
		cel.Function("replace", cel.MemberOverload("replace_all", []*cel.Type{str, str, str}, str), cel.SingletonFunctionBinding(replace)),
		cel.Function("parse_json", cel.Overload("parse_json_text", []*cel.Type{str}, dyn), cel.SingletonUnaryBinding(parseJSON)),
	}
}

func overload(id string, result *cel.Type, args ...*cel.Type) cel.FunctionOpt {
	return cel.Overload(id, args, result)
}

// arithmetic declares an operator on every pair of number types and on more,
// for which other computes it.
func arithmetic(op string, other func(a, b ref.Val) ref.Val, exact func(a, b subject.Number) (subject.Number, bool), more ...cel.FunctionOpt) cel.EnvOption {
	for _, a := range []*cel.Type{cel.IntType, cel.DoubleType} {
		for _, b := range []*cel.Type{cel.IntType, cel.DoubleType} {
			result := cel.DoubleType
			if a == b {
				result = a
			}
			more = append(more, overload(op+a.String()+b.String(), result, a, b))
		}
	}
	return cel.Function(op, append(more, cel.SingletonBinaryBinding(func(a, b ref.Val) ref.Val {
		x, first := numberOf(a)
		y, second := numberOf(b)
		if first && second {
			n, ok := exact(x, y)
			if !ok {
				return errNoNumber.val()
			}
			return ofNumber(n)
		}
		if other == nil {
			return types.NoSuchOverloadErr()
		}
		return other(a, b)
	}))...)
}

// CEL keeps some errors in variables, and writes the place of the first failure
// into them when it happens: a race between evaluations. Whoever writes first
// wins, so it is done here, before any goroutine evaluates.
var (
	_ = types.LabelErrNode(1, types.NoSuchOverloadErr())
	_ = types.LabelErrNode(1, types.Timestamp{Time: time.Unix(1<<40, 0)}.Add(types.Duration{Duration: time.Hour}))
)

// functionError is a failure of our own functions, in words that say nothing of
// a record's content.
type functionError string

func (e functionError) Error() string { return string(e) }

const (
	errNoNumber functionError = "a result is no number, as of a division by zero"
	errTooLarge functionError = "a text grows too large"
	errNotJSON  functionError = "parse_json() is given what is not JSON"
	errPosition functionError = "substring() is given a position outside of the text"
)

// val returns the error as CEL's functions do, which write to what they are given.
func (e functionError) val() ref.Val { return types.WrapErr(e) }

// maxTextBytes bounds what one function makes: Kafka's default bound of a record.
const maxTextBytes = 1 << 20

func add(a, b ref.Val) ref.Val {
	s, first := a.(types.String)
	t, second := b.(types.String)
	if first && second && len(s)+len(t) > maxTextBytes {
		return errTooLarge.val()
	}
	if adder, ok := a.(traits.Adder); ok {
		return adder.Add(b)
	}
	return types.NoSuchOverloadErr()
}

func subtract(a, b ref.Val) ref.Val {
	if s, ok := a.(traits.Subtractor); ok {
		return s.Subtract(b)
	}
	return types.NoSuchOverloadErr()
}

// numberOf is a number, exactly as its shortest decimal text says.
func numberOf(v ref.Val) (subject.Number, bool) {
	switch v := v.(type) {
	case types.Int:
		return subject.Int(int64(v)), true
	case types.Double:
		return subject.Float(float64(v))
	}
	return subject.Number{}, false
}

// ofNumber is an int where the number is whole and fits, else the nearest double.
func ofNumber(n subject.Number) ref.Val {
	if i, ok := n.Int64(); ok {
		return types.Int(i)
	}
	return types.Double(n.Float64())
}

// toString is string(): null of null, so that a missing id is none.
func toString(v ref.Val) ref.Val {
	if v.Type() == types.NullType {
		return null
	}
	if n, ok := numberOf(v); ok {
		return types.String(n.String())
	}
	return v.ConvertToType(types.StringType)
}

// textFunction declares a method of texts, null of null.
func textFunction(name string, f func(string) string) cel.EnvOption {
	return cel.Function(name, cel.MemberOverload(name+"_text", []*cel.Type{cel.StringType}, cel.StringType), cel.SingletonUnaryBinding(func(v ref.Val) ref.Val {
		if s, ok := v.(types.String); ok {
			return types.String(f(string(s)))
		}
		if v.Type() == types.NullType {
			return null
		}
		return types.NoSuchOverloadErr()
	}))
}

func lower(r rune) rune {
	if r >= 'A' && r <= 'Z' {
		return r + 'a' - 'A'
	}
	return r
}

func upper(r rune) rune {
	if r >= 'a' && r <= 'z' {
		return r - 'a' + 'A'
	}
	return r
}

func split(s, separator ref.Val) ref.Val {
	t, first := s.(types.String)
	by, second := separator.(types.String)
	if !first || !second {
		return types.NoSuchOverloadErr()
	}
	return types.NewStringList(types.DefaultTypeAdapter, strings.Split(string(t), string(by)))
}

// substring takes characters, from the first to before the second position.
func substring(args ...ref.Val) ref.Val {
	s, ok := args[0].(types.String)
	if !ok {
		return types.NoSuchOverloadErr()
	}
	runes := []rune(string(s))
	bounds := [2]int{0, len(runes)}
	for i, arg := range args[1:] {
		at, ok := arg.(types.Int)
		if !ok {
			return types.NoSuchOverloadErr()
		}
		if at < 0 || int64(at) > int64(len(runes)) {
			return errPosition.val()
		}
		bounds[i] = int(at)
	}
	if bounds[0] > bounds[1] {
		return errPosition.val()
	}
	return types.String(runes[bounds[0]:bounds[1]])
}

func replace(args ...ref.Val) ref.Val {
	var texts [3]string
	for i := range texts {
		s, ok := args[i].(types.String)
		if !ok {
			return types.NoSuchOverloadErr()
		}
		texts[i] = string(s)
	}
	s, from, to := texts[0], texts[1], texts[2]
	if grown := len(to) - len(from); grown > 0 && len(s)+strings.Count(s, from)*grown > maxTextBytes {
		return errTooLarge.val()
	}
	return types.String(strings.ReplaceAll(s, from, to))
}

func parseJSON(v ref.Val) ref.Val {
	if v.Type() == types.NullType {
		return null
	}
	s, ok := v.(types.String)
	if !ok {
		return types.NoSuchOverloadErr()
	}
	raw, ok := valid([]byte(s))
	if !ok {
		return errNotJSON.val()
	}
	return wrap(raw)
}
