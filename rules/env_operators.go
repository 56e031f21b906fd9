package rules

import (
	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/operators"
)

// operatorFunctions declares the operators anew: numbers are one kind, == and
// in accept any kinds, and division keeps the fraction.
func operatorFunctions() []cel.EnvOption {
	a, b, c := cel.TypeParamType("A"), cel.TypeParamType("B"), cel.TypeParamType("C")
	ts, dur, boolean := cel.TimestampType, cel.DurationType, cel.BoolType
	options := []cel.EnvOption{
		onNumbers(operators.Add, mixed,
			global("add_string", cel.StringType, cel.StringType, cel.StringType),
			global("add_timestamp_duration", ts, ts, dur), global("add_duration_timestamp", ts, dur, ts), global("add_duration", dur, dur, dur),
			global("add_list", cel.ListType(a), cel.ListType(a), cel.ListType(a))),
		onNumbers(operators.Subtract, mixed,
			global("subtract_timestamp", dur, ts, ts), global("subtract_timestamp_duration", ts, ts, dur), global("subtract_duration", dur, dur, dur)),
		onNumbers(operators.Multiply, mixed),
		onNumbers(operators.Modulo, mixed),
		onNumbers(operators.Divide, func(_, _ *cel.Type) *cel.Type { return cel.DoubleType }),
		cel.Function(operators.Negate, global("negate_int", cel.IntType, cel.IntType), global("negate_double", cel.DoubleType, cel.DoubleType)),
		cel.Function(operators.Equals, global("equals_any", boolean, a, b)),
		cel.Function(operators.NotEquals, global("not_equals_any", boolean, a, b)),
		cel.Function(operators.In, global("in_any_list", boolean, a, cel.ListType(b)), global("in_any_map", boolean, a, cel.MapType(b, c))),
		cel.Function(operators.Conditional, global("conditional_any", cel.DynType, boolean, a, b)),
		cel.Function(hasCall, global("has_any", boolean, cel.DynType)),
	}
	for _, op := range []string{operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals} {
		options = append(options, onNumbers(op, func(_, _ *cel.Type) *cel.Type { return boolean },
			global(op+"string", boolean, cel.StringType, cel.StringType), global(op+"timestamp", boolean, ts, ts),
			global(op+"duration", boolean, dur, dur), global(op+"bool", boolean, boolean, boolean)))
	}
	return options
}

// onNumbers declares an operator on every pair of number types, and more.
func onNumbers(op string, result func(a, b *cel.Type) *cel.Type, more ...cel.FunctionOpt) cel.EnvOption {
	for _, a := range []*cel.Type{cel.IntType, cel.DoubleType} {
		for _, b := range []*cel.Type{cel.IntType, cel.DoubleType} {
			more = append(more, global(op+a.String()+b.String(), result(a, b), a, b))
		}
	}
	return cel.Function(op, more...)
}

func mixed(a, b *cel.Type) *cel.Type {
	if a == cel.IntType && b == cel.IntType {
		return cel.IntType
	}
	return cel.DoubleType
}
