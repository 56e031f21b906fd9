package rules

import (
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"

	"github.com/segmentd/segmentd/state/subject"
)

// call walks operators, functions and aggregates.
func (w *walker) call(e ast.Expr) kindSet {
	call := e.AsCall()
	name := call.FunctionName()
	if op, ok := comparisons[name]; ok && len(call.Args()) == 2 {
		return w.comparison(e, op)
	}
	switch {
	case name == operators.Index:
		return w.member(e)
	case name == operators.Conditional:
		w.value(call.Args()[0])
		return w.value(call.Args()[1]) | w.value(call.Args()[2])
	case name == operators.In:
		return w.in(e)
	case (name == operators.Add || name == operators.Subtract) && len(call.Args()) == 2:
		return w.sum(e)
	case call.IsMemberFunction() && functions[name].source && w.isSource(call.Target()):
		return w.aggregate(e)
	case !call.IsMemberFunction() && ruleFunction[name]:
		return w.ruleFunction(e)
	}
	if w.misplaced(e) {
		return anyKind
	}
	if call.IsMemberFunction() {
		w.value(call.Target())
	}
	for _, arg := range call.Args() {
		w.value(arg)
	}
	return w.resultKinds(call)
}

// misplaced reports a method without what it belongs to.
func (w *walker) misplaced(e ast.Expr) bool {
	call := e.AsCall()
	name := call.FunctionName()
	f := functions[name]
	switch {
	case f.method && !call.IsMemberFunction() && name != "size":
		w.fail(e, "%s() is written after what it belongs to: %s", name, f.usage)
	case f.source && call.IsMemberFunction() && w.sortOf(call.Target()) == valueSort:
		w.fail(e, "%s() is for a source of events, as in events(\"…\")%s", name, strings.TrimPrefix(f.usage, "events(\"…\")"))
	default:
		return false
	}
	return true
}

// sum walks + and −.
func (w *walker) sum(e ast.Expr) kindSet {
	a, b := w.value(e.AsCall().Args()[0]), w.value(e.AsCall().Args()[1])
	kinds := sumKinds(a, b)
	if kinds == nullKind && a != nullKind && b != nullKind {
		w.fail(e, "'%s' cannot join %s and %s", signs[e.AsCall().FunctionName()], a, b)
		return anyKind
	}
	return kinds
}

// resultKinds are the kinds of a function's value.
func (w *walker) resultKinds(call ast.CallExpr) kindSet {
	if call.FunctionName() == "timestamp" && len(call.Args()) == 1 {
		if v, ok := constantOf(call.Args()[0]); ok && toTimestamp(v).Kind() == subject.Time {
			return timeKind
		}
	}
	if call.FunctionName() == operators.Negate && call.Args()[0].Kind() == ast.LiteralKind {
		return numberKind
	}
	if kinds, ok := callKinds[call.FunctionName()]; ok {
		return kinds
	}
	return anyKind
}

// ruleFunction are the functions of the subject and of T.
var ruleFunction = map[string]bool{"segment": true, "list": true, "bucket": true, "ago": true, "ahead": true,
	"held": true, "anniversary": true, "local_hour": true, "local_weekday": true}

func (w *walker) ruleFunction(e ast.Expr) kindSet {
	call := e.AsCall()
	name := call.FunctionName()
	w.f.constant = false
	if w.inBody {
		w.fail(e, "%s() is not known inside where(...) and aggregates: they see only properties, context, name, timestamp and constants", name)
	}
	if len(call.Args()) == 0 {
		return callKinds[name]
	}
	arg := call.Args()[0]
	key, literal := stringLiteral(arg)
	switch {
	case name == "held" && len(w.locals) > 0:
		w.fail(e, "held() cannot stand inside exists(), all(), filter() and map(): it asks about the subject, not about elements of a list")
	case name == "held" && swapped(call):
		w.fail(e, "held() takes the condition first and then the time: write held(…, \"%s\")", key)
	case !literal || name == "held" || name == "anniversary":
		w.value(arg)
	case name == "segment":
		w.f.facts.refs = append(w.f.facts.refs, nameUse{key, w.f.at(arg.ID())})
	case name == "list" && w.lists[key] == nil && !w.broken:
		w.fail(arg, "unknown list '%s'%s", key, hint(key, keysOf(w.lists)))
	case name == "list":
		w.f.facts.lists = append(w.f.facts.lists, nameUse{key, w.f.at(arg.ID())})
	}
	return callKinds[name]
}

func (w *walker) isSource(e ast.Expr) bool {
	s := w.sortOf(e)
	return s == sourceSort || s == unknownSort
}

// aggregateArgs are the kinds that aggregates take of their arguments; others are skipped.
var aggregateArgs = map[string]kindSet{
	"sum": numberKind | listKind, "avg": numberKind | listKind,
	"min": numberKind | timeKind | listKind, "max": numberKind | timeKind | listKind,
}

// aggregate walks an aggregate of a source.
func (w *walker) aggregate(e ast.Expr) kindSet {
	call := e.AsCall()
	name := call.FunctionName()
	w.source(call.Target())
	result := aggregateKinds[name]
	for _, arg := range call.Args() {
		if name == "days" || name == "periods" {
			break // literals, which are judged by themselves
		}
		kinds := w.body(arg)
		if kinds&listKind == 0 && (name == "min" || name == "max") {
			result &= kinds | nullKind
		}
		if want, ok := aggregateArgs[name]; ok && kinds&want == 0 {
			w.checker.warnf(w.f.start(arg), "%s() takes numbers only and skips the rest; this is %s", name, kinds)
		}
	}
	return result
}

// comparison walks a comparison and judges the kinds of its sides.
func (w *walker) comparison(e ast.Expr, op comparison) kindSet {
	x, y := e.AsCall().Args()[0], e.AsCall().Args()[1]
	a, b := w.value(x), w.value(y)
	w.reach(x, y)
	w.reach(y, x)
	switch {
	case op.ordering() && (a == nullKind || b == nullKind):
		w.fail(e, "'%s' is never true of null: write == null, or has(…)", op)
	case op.ordering() && a&b&orderedKinds == 0:
		w.fail(e, "'%s' cannot compare %s with %s%s", op, a, b, w.comparedField(x, y, a, b))
	case !op.ordering() && a&b == 0:
		w.warn(e, "this comparison is always %t: %s is never equal to %s%s", op == notEqual, a, b, w.comparedField(x, y, a, b))
	}
	return boolKind
}

// reach notes how far back a comparison of an event's timestamp with ago()
// looks: no farther than any other window, since what is older does not count.
func (w *walker) reach(event, ago ast.Expr) {
	ch := w.chain(event)
	if ch.sort != eventSort || len(ch.keys) != 1 || ch.keys[0] != "timestamp" || ago.Kind() != ast.CallKind || ago.AsCall().FunctionName() != "ago" {
		return
	}
	if text, literal := stringLiteral(ago.AsCall().Args()[0]); literal {
		if micros, err := parseDuration(text); err == nil {
			w.f.facts.windows = append(w.f.facts.windows, windowUse{micros, "ago(" + text + ")", w.f.at(ago.ID())})
		}
	}
}

// comparedField shows how to compare a text with a number, or a field with a timestamp.
func (w *walker) comparedField(x, y ast.Expr, a, b kindSet) string {
	for _, side := range []ast.Expr{x, y} {
		if text, ok := stringLiteral(side); ok && (a|b)&numberKind != 0 && !toDouble(subject.OfString(text)).IsNull() {
			return ": write " + text + " without quotes"
		}
	}
	if b&timeKind == 0 {
		x, a, b = y, b, a
	}
	if b&^nullKind != timeKind || a&^fieldKinds != 0 {
		return ""
	}
	if x.Kind() == ast.LiteralKind {
		return ": write timestamp(\"…\")"
	}
	ch := w.chain(x)
	if ch.root == "" || len(ch.keys) == 0 {
		return ": write timestamp(…)"
	}
	return ": write timestamp(" + pathText(ch.root, ch.keys) + ")"
}

// in walks x in y.
func (w *walker) in(e ast.Expr) kindSet {
	x, y := e.AsCall().Args()[0], e.AsCall().Args()[1]
	a := w.value(x)
	w.value(y)
	if y.Kind() != ast.ListKind {
		return boolKind
	}
	elements := kindSet(0)
	for _, element := range y.AsList().Elements() {
		elements |= w.kindsWithin(element)
	}
	switch {
	case elements == 0:
		w.warn(e, "this comparison is always false: the list is empty")
	case a&elements == 0:
		w.warn(e, "this comparison is always false: %s is never equal to %s", a, elements)
	}
	return boolKind
}

// kindsWithin returns the kinds of an expression that was walked before.
func (w *walker) kindsWithin(e ast.Expr) kindSet {
	if e.Kind() == ast.LiteralKind {
		return kindsOfLiteral(e)
	}
	return anyKind
}
