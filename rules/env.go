package rules

import (
	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	celenv "cel.dev/cel-go/common/env"
	"cel.dev/cel-go/common/types"
)

// eventsType is the type of a source: opaque to CEL, so that no operator or
// collection macro accepts it. eventType is one event out of a source.
var (
	eventsType = cel.OpaqueType("events")
	eventType  = cel.ObjectType("event")
)

// eventFields are the fields of eventType and of the scope of where() and of
// aggregates' arguments.
var eventFields = map[string]*cel.Type{
	"properties": cel.DynType,
	"context":    cel.DynType,
	"name":       cel.StringType,
	"timestamp":  cel.TimestampType,
}

// newEnv returns the declarations under which the whole language type-checks,
// with lets as variables. It declares what later versions will compile too, so
// that those functions can be refused by name.
func newEnv(lets []letDecl) (*cel.Env, error) {
	registry, err := types.NewRegistry()
	if err != nil {
		return nil, err
	}
	options := []cel.EnvOption{
		cel.StdLib(cel.StdLibSubset(keptOfStdLib())),
		cel.CustomTypeProvider(provider{registry}),
		cel.EnableIdentifierEscapeSyntax(),
		cel.Variable("traits", cel.DynType),
		cel.Variable("previous", eventType),
		cel.Macros(listMacros()...),
	}
	for name, typ := range eventFields {
		options = append(options, cel.Variable(name, typ))
	}
	options = append(options, sourceFunctions()...)
	options = append(options, ruleFunctions()...)
	options = append(options, valueFunctions()...)
	options = append(options, operatorFunctions()...)
	for _, l := range lets {
		options = append(options, cel.Variable(l.name, l.typ))
	}
	return cel.NewCustomEnv(options...)
}

// keptOfStdLib selects what CEL's standard library declares as we need it.
func keptOfStdLib() *celenv.LibrarySubset {
	subset := celenv.NewLibrarySubset().SetDisableMacros(true)
	for _, name := range []string{"_&&_", "_||_", "!_", "_[_]", "size", "startsWith", "endsWith", "contains", "matches"} {
		subset = subset.AddIncludedFunctions(celenv.NewFunction(name))
	}
	return subset
}

// provider adds eventType to CEL's types.
type provider struct{ types.Provider }

func (p provider) FindStructType(name string) (*types.Type, bool) {
	if name == eventType.TypeName() {
		return types.NewTypeTypeWithParam(eventType), true
	}
	return p.Provider.FindStructType(name)
}

func (p provider) FindStructFieldNames(name string) ([]string, bool) {
	if name == eventType.TypeName() {
		return []string{"properties", "context", "name", "timestamp"}, true
	}
	return p.Provider.FindStructFieldNames(name)
}

func (p provider) FindStructFieldType(name, field string) (*types.FieldType, bool) {
	if name == eventType.TypeName() {
		t, ok := eventFields[field]
		return &types.FieldType{Type: t}, ok
	}
	return p.Provider.FindStructFieldType(name, field)
}

// methodOf declares a method of sources.
func methodOf(name string, result *cel.Type, args ...*cel.Type) cel.EnvOption {
	return cel.Function(name, method("events_"+name, result, append([]*cel.Type{eventsType}, args...)...))
}

func method(id string, result *cel.Type, args ...*cel.Type) cel.FunctionOpt {
	return cel.MemberOverload(id, args, result)
}

func global(id string, result *cel.Type, args ...*cel.Type) cel.FunctionOpt {
	return cel.Overload(id, args, result)
}

func sourceFunctions() []cel.EnvOption {
	str, num, dyn := cel.StringType, cel.IntType, cel.DynType
	options := []cel.EnvOption{
		cel.Function("events", global("events", eventsType, str)),
		methodOf("where", eventsType, cel.BoolType),
		methodOf("within", eventsType, str),
		methodOf("between", eventsType, str, str),
		methodOf("since_midnight", eventsType, num, str),
		methodOf("since", eventsType, cel.TimestampType),
		methodOf("until", eventsType, cel.TimestampType),
		methodOf("exists", cel.BoolType),
		methodOf("count", num),
		methodOf("distinct", num, dyn),
		methodOf("days", num, str),
		methodOf("first", eventType),
		methodOf("last", eventType),
		cel.Function("periods", method("events_periods", num, eventsType, str), method("events_periods_n", num, eventsType, str, num)),
		follower("followed_by"),
		follower("not_followed_by"),
	}
	for _, name := range []string{"sum", "avg", "min", "max", "most_frequent"} {
		options = append(options, methodOf(name, dyn, dyn))
	}
	return options
}

// maxFunnel bounds the pairs of arguments of followed_by.
const maxFunnel = 8

func follower(name string) cel.EnvOption {
	var overloads []cel.FunctionOpt
	args := []*cel.Type{eventsType}
	for i := range maxFunnel {
		args = append(args, eventsType, cel.StringType)
		overloads = append(overloads, method("events_"+name+string(rune('1'+i)), eventsType, append([]*cel.Type(nil), args...)...))
	}
	return cel.Function(name, overloads...)
}

func ruleFunctions() []cel.EnvOption {
	str, dyn := cel.StringType, cel.DynType
	return []cel.EnvOption{
		cel.Function("segment", global("segment", cel.BoolType, str)),
		cel.Function("list", global("list", cel.BoolType, str)),
		cel.Function("bucket", global("bucket", cel.DoubleType, str)),
		cel.Function("held", global("held", cel.BoolType, cel.BoolType, str)),
		cel.Function("ago", global("ago", cel.TimestampType, str)),
		cel.Function("ahead", global("ahead", cel.TimestampType, str)),
		cel.Function("anniversary", global("anniversary", cel.BoolType, dyn, str, str)),
		cel.Function("local_hour", global("local_hour", cel.IntType, str)),
		cel.Function("local_weekday", global("local_weekday", cel.IntType, str)),
	}
}

// dateGetters are CEL's getters of timestamps.
var dateGetters = []string{"getFullYear", "getMonth", "getDayOfYear", "getDayOfMonth", "getDate", "getDayOfWeek",
	"getHours", "getMinutes", "getSeconds", "getMilliseconds"}

func valueFunctions() []cel.EnvOption {
	str, dyn, list := cel.StringType, cel.DynType, cel.ListType(cel.StringType)
	options := []cel.EnvOption{
		cel.Function("lowerAscii", method("lower_ascii", str, str)),
		cel.Function("upperAscii", method("upper_ascii", str, str)),
		cel.Function("trim", method("trim", str, str)),
		cel.Function("split", method("split", list, str, str), method("split_n", list, str, str, cel.IntType)),
		cel.Function("string", global("to_string", str, dyn)),
		cel.Function("double", global("to_double", cel.DoubleType, dyn)),
		cel.Function("int", global("to_int", cel.IntType, dyn)),
		cel.Function("timestamp", global("to_timestamp", cel.TimestampType, dyn)),
		cel.Function("duration", global("to_duration", cel.DurationType, dyn)),
	}
	for _, name := range dateGetters {
		options = append(options, cel.Function(name,
			method(name, cel.IntType, cel.TimestampType), method(name+"_zone", cel.IntType, cel.TimestampType, str)))
	}
	return options
}

// hasCall is what the macro has() becomes: a plain function of that name would
// collide with the macro that CEL knows by it.
const hasCall = "@has"

func hasMacro() cel.Macro {
	return cel.GlobalMacro("has", 1, func(f cel.MacroExprFactory, _ ast.Expr, args []ast.Expr) (ast.Expr, *cel.Error) {
		return f.NewCall(hasCall, args[0]), nil
	})
}
