package rules

import (
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	"github.com/segmentd/segmentd/state/subject"
)

// kindSet is a set of kinds that an expression's value can be of.
type kindSet uint16

func kindsOf(kinds ...subject.Kind) (set kindSet) {
	for _, k := range kinds {
		set |= 1 << k
	}
	return set
}

var (
	nullKind   = kindsOf(subject.Null)
	boolKind   = kindsOf(subject.Bool)
	numberKind = kindsOf(subject.NumberKind)
	textKind   = kindsOf(subject.String)
	timeKind   = kindsOf(subject.Time)
	listKind   = kindsOf(subject.List)
	mapKind    = kindsOf(subject.Map)
	// fieldKinds is what JSON gives.
	fieldKinds = nullKind | boolKind | numberKind | textKind | listKind | mapKind
	anyKind    = fieldKinds | timeKind | kindsOf(subject.Duration)
	// orderedKinds is what < and its like compare.
	orderedKinds = boolKind | numberKind | textKind | timeKind | kindsOf(subject.Duration)
)

// String names the kinds for messages; null is left out beside others.
func (s kindSet) String() string {
	if s == nullKind {
		return "null"
	}
	words := map[kindSet]string{
		boolKind: "true or false", numberKind: "a number", textKind: "text", timeKind: "a timestamp",
		kindsOf(subject.Duration): "a duration", listKind: "a list", mapKind: "a map", fieldKinds &^ nullKind: "a field",
		numberKind | timeKind: "a number or a timestamp",
	}
	if w, ok := words[s&^nullKind]; ok {
		return w
	}
	return "a value"
}

// kindsOfLiteral returns the kind of a literal.
func kindsOfLiteral(e ast.Expr) kindSet {
	switch e.AsLiteral().(type) {
	case types.Null:
		return nullKind
	case types.Bool:
		return boolKind
	case types.Int, types.Uint, types.Double:
		return numberKind
	case types.String:
		return textKind
	}
	return anyKind
}

// callKinds are the kinds of functions' values that do not depend on their arguments'.
var callKinds = map[string]kindSet{
	operators.LogicalAnd: boolKind, operators.LogicalOr: boolKind, operators.LogicalNot: boolKind, operators.In: boolKind,
	operators.Equals: boolKind, operators.NotEquals: boolKind, operators.Less: boolKind, operators.LessEquals: boolKind,
	operators.Greater: boolKind, operators.GreaterEquals: boolKind, hasCall: boolKind,
	operators.Multiply: numberKind | nullKind, operators.Divide: numberKind | nullKind, operators.Modulo: numberKind | nullKind,
	operators.Negate: numberKind | nullKind,
	"segment":        boolKind, "list": boolKind, "startsWith": boolKind, "endsWith": boolKind, "contains": boolKind, "matches": boolKind,
	"bucket": numberKind, "ago": timeKind, "ahead": timeKind, "held": boolKind, "anniversary": boolKind, "local_hour": numberKind, "local_weekday": numberKind,
	"getFullYear": numberKind | nullKind, "getMonth": numberKind | nullKind, "getDate": numberKind | nullKind, "getDayOfMonth": numberKind | nullKind,
	"getDayOfWeek": numberKind | nullKind, "getDayOfYear": numberKind | nullKind, "getHours": numberKind | nullKind, "getMinutes": numberKind | nullKind,
	"getSeconds": numberKind | nullKind, "getMilliseconds": numberKind | nullKind,
	"size": numberKind | nullKind, "double": numberKind | nullKind, "int": numberKind | nullKind, "string": textKind | nullKind,
	"lowerAscii": textKind | nullKind, "upperAscii": textKind | nullKind, "trim": textKind | nullKind, "split": listKind | nullKind,
	"duration": kindsOf(subject.Duration, subject.Null), "timestamp": timeKind | nullKind,
}

// aggregateKinds are the kinds of aggregates' values.
var aggregateKinds = map[string]kindSet{
	"exists": boolKind, "count": numberKind, "distinct": numberKind, "days": numberKind, "periods": numberKind, "most_frequent": anyKind, "sum": numberKind | nullKind, "avg": numberKind | nullKind,
	"min": numberKind | timeKind | nullKind, "max": numberKind | timeKind | nullKind,
}

// sumKinds are the kinds of a + b and a − b: of those both can be of, and of
// what timestamps and durations make of each other.
func sumKinds(a, b kindSet) kindSet {
	moments := timeKind | kindsOf(subject.Duration)
	set := nullKind | a&b&(numberKind|textKind|listKind)
	if a&moments != 0 && b&moments != 0 {
		set |= moments
	}
	return set
}
