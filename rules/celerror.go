package rules

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"

	"github.com/segmentd/segmentd/rules/nearest"
	"github.com/segmentd/segmentd/state/subject"
)

// signs are the operators as rules write them, by the names CEL gives their functions.
var signs = map[string]string{
	operators.Add: "+", operators.Subtract: "-", operators.Multiply: "*", operators.Divide: "/", operators.Modulo: "%",
	operators.Equals: "==", operators.NotEquals: "!=", operators.Less: "<", operators.LessEquals: "<=", operators.Greater: ">",
	operators.GreaterEquals: ">=", operators.In: "in", operators.LogicalAnd: "&&", operators.LogicalOr: "||",
	operators.Conditional: "?:", operators.Index: "[…]",
}

// typeCheck type-checks a formula and puts CEL's errors in words. It comes
// after walk, which says better what is wrong with sources.
func (c *checker) typeCheck(env *cel.Env, f *formula) {
	typed, issues := env.Check(f.parsed)
	if issues.Err() == nil {
		f.typed, f.typ = typed.NativeRep(), typed.OutputType()
		return
	}
	explained := f.failed
	variables := f.lostVariables()
	for _, e := range issues.Errors() {
		node := f.find(e.ExprID)
		if node != nil && node.Kind() == ast.IdentKind && slices.Contains(variables, node.AsIdent()) {
			continue // of a macro whose name is misspelt, which is reported
		}
		if f.reported[e.ExprID] || explained && (f.refusedAt(node) || eventTypes.MatchString(e.Message)) || strings.Contains(e.Message, "!error!") {
			f.failed = true
			continue
		}
		at := f.text.at(wordAt(f.text.runes, offsetOf(f.text.runes, e)))
		c.fail(f, at, "%s", c.celMessage(f, node, e))
	}
	if !f.failed {
		c.fail(f, f.text.start(), "%s", issues.Errors()[0].Message)
	}
}

// lostVariables returns the names that look like variables of list macros
// whose own names are misspelt.
func (f *formula) lostVariables() (names []string) {
	ast.PreOrderVisit(f.tree.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.CallKind || !e.AsCall().IsMemberFunction() || len(e.AsCall().Args()) < 2 {
			return
		}
		first := e.AsCall().Args()[0]
		if _, known := functions[e.AsCall().FunctionName()]; !known && first.Kind() == ast.IdentKind {
			names = append(names, first.AsIdent())
		}
	}))
	return names
}

var (
	eventTypes     = regexp.MustCompile(`\bevents?\b.*'$|type 'events?'`)
	undeclared     = regexp.MustCompile(`^undeclared reference to '([^']*)'`)
	noOverload     = regexp.MustCompile(`^found no matching overload for '(.*)' applied to '(.*)'$`)
	noSelection    = regexp.MustCompile(`^type '(.*)' does not support field selection$`)
	undefinedField = regexp.MustCompile(`^undefined field '(.*)'$`)
	expectedType   = regexp.MustCompile(`^expected type '(.*)' but found '(.*)'$`)
	noRange        = regexp.MustCompile(`^expression of type '(.*)' cannot be range of a comprehension`)
)

// celMessage puts an error of CEL's type checker in words.
func (c *checker) celMessage(f *formula, node ast.Expr, e *common.Error) string {
	if m := undeclared.FindStringSubmatch(e.Message); m != nil {
		return c.unknownName(m[1], node)
	}
	if m := noOverload.FindStringSubmatch(e.Message); m != nil {
		return overloadMessage(m[1], m[2], node)
	}
	if m := noSelection.FindStringSubmatch(e.Message); m != nil {
		if node != nil && node.Kind() == ast.SelectKind && functions[node.AsSelect().FieldName()].method {
			name := node.AsSelect().FieldName()
			return fmt.Sprintf("%s is a function: write %s()", name, name)
		}
		return typeWords(m[1]) + " has no fields"
	}
	if m := undefinedField.FindStringSubmatch(e.Message); m != nil {
		fields := []string{"properties", "context", "name", "timestamp"}
		return fmt.Sprintf("an event has no field '%s'%s, only properties, context, name and timestamp", m[1], hint(m[1], fields))
	}
	if m := expectedType.FindStringSubmatch(e.Message); m != nil {
		return conditionMessage(m[1], m[2])
	}
	if m := noRange.FindStringSubmatch(e.Message); m != nil {
		return fmt.Sprintf("exists(), all(), filter() and map() with a variable are for lists; this is %s", typeWords(m[1]))
	}
	return e.Message
}

// unknownName says what a name that nothing declares may have meant.
func (c *checker) unknownName(name string, node ast.Expr) string {
	if node != nil && node.Kind() == ast.CallKind {
		member := node.AsCall().IsMemberFunction()
		if f, known := functions[name]; known && f.method != member {
			return fmt.Sprintf("%s() is not used like this: write %s", name, f.usage)
		}
		return fmt.Sprintf("unknown function '%s'%s", name, hint(name, functionNames(member)))
	}
	known := slices.DeleteFunc(slices.Clone(roots), func(n string) bool { return n == previousName })
	for let := range c.lets {
		known = append(known, let)
	}
	if n := nearest.To(name, known); n != "" {
		return fmt.Sprintf("unknown name '%s' (nearest: %s)", name, n)
	}
	if f, ok := functions[name]; ok {
		return fmt.Sprintf("'%s' is a function: write %s", name, f.usage)
	}
	return fmt.Sprintf("unknown name '%s'; if it is meant as text, write \"%s\"; a trait is traits.%s, a property of an event properties.%s", name, name, name, name)
}

// conditionMessage is for a value where a condition is wanted.
func conditionMessage(want, found string) string {
	switch {
	case want == "bool" && found == "events":
		return "a source of events is no condition: add .exists(), or .count() and a comparison"
	case want == "bool" && (found == "int" || found == "double"):
		return "a number is no condition: compare it, as in > 0"
	case want == "bool":
		return typeWords(found) + " is no condition: compare it with something"
	}
	return fmt.Sprintf("%s is expected here, and this is %s", typeWords(want), typeWords(found))
}

// overloadMessage says why a function or operator does not take its arguments.
func overloadMessage(name, applied string, node ast.Expr) string {
	target, args := appliedTypes(applied)
	sign, operator := signs[name]
	switch {
	case operator && len(args) == 2 && name == operators.Index:
		return fmt.Sprintf("%s has no element at %s", typeWords(args[0]), typeWords(args[1]))
	case operator && len(args) == 2 && (name == operators.LogicalAnd || name == operators.LogicalOr):
		return fmt.Sprintf("'%s' joins conditions, not %s and %s", sign, typeWords(args[0]), typeWords(args[1]))
	case operator && len(args) == 2 && name == operators.In:
		return fmt.Sprintf("'in' looks for a value in a list, not in %s", typeWords(args[1]))
	case operator && len(args) == 2 && comparisons[name].ordering():
		return fmt.Sprintf("'%s' cannot compare %s with %s%s", sign, typeWords(args[0]), typeWords(args[1]), comparisonHint(args, node))
	case operator && len(args) == 2:
		return fmt.Sprintf("'%s' cannot join %s and %s", sign, typeWords(args[0]), typeWords(args[1]))
	case name == operators.LogicalNot && len(args) == 1:
		return "'!' turns a condition around; " + conditionMessage("bool", args[0])
	case name == operators.Negate && len(args) == 1:
		return fmt.Sprintf("'-' cannot be put before %s", typeWords(args[0]))
	case name == operators.Conditional && len(args) == 3:
		return "before the '?' stands a condition; " + conditionMessage("bool", args[0])
	}
	f := functions[name]
	if target != "" && !f.method {
		return fmt.Sprintf("%s() stands alone: write %s", name, f.usage)
	}
	if target != "" && f.source && target != "events" && target != "dyn" {
		return fmt.Sprintf("%s() is for a source of events, as in events(\"…\")%s; this is %s", name, f.usage, typeWords(target))
	}
	switch {
	case len(args) == 0 && (target == "" || target == "events" || target == "dyn"):
		return fmt.Sprintf("%s() does not work without arguments: write %s", name, f.usage)
	case len(args) == 0:
		return fmt.Sprintf("%s() is not for %s: write %s", name, typeWords(target), f.usage)
	case len(args) == 1 && strings.Contains(f.usage, ", ") && name != "exists":
		return fmt.Sprintf("%s() does not take %s alone: write %s", name, listed(target, args), f.usage)
	}
	return fmt.Sprintf("%s() does not take %s: write %s", name, listed(target, args), f.usage)
}

// comparisonHint shows how to compare what looks comparable.
func comparisonHint(args []string, node ast.Expr) string {
	sides := args[0] + " " + args[1]
	switch {
	case strings.Contains(sides, "timestamp") && strings.Contains(sides, "string"):
		return ": write timestamp(\"…\")"
	case strings.Contains(sides, "string") && node != nil && node.Kind() == ast.CallKind:
		for _, arg := range node.AsCall().Args() {
			if text, ok := stringLiteral(arg); ok && !toDouble(subject.OfString(text)).IsNull() {
				return ": write " + text + " without quotes"
			}
		}
	}
	return ""
}

// listed names the types of arguments.
func listed(target string, args []string) string {
	words := make([]string, len(args))
	for i, a := range args {
		words[i] = typeWords(a)
	}
	text := strings.Join(words, " and ")
	if target != "" && target != "events" {
		text += " on " + typeWords(target)
	}
	return text
}

// appliedTypes takes "(int, string)" or "target.(int)" apart.
func appliedTypes(applied string) (target string, args []string) {
	open := strings.LastIndex(applied, ".(")
	if strings.HasPrefix(applied, "(") {
		open = -1
	}
	if open >= 0 {
		target, applied = applied[:open], applied[open+1:]
	}
	inner := strings.TrimSuffix(strings.TrimPrefix(applied, "("), ")")
	depth, start := 0, 0
	for i, r := range inner {
		switch {
		case r == '(':
			depth++
		case r == ')':
			depth--
		case r == ',' && depth == 0:
			args = append(args, inner[start:i])
			start = i + 1
		}
	}
	if strings.TrimSpace(inner) != "" {
		args = append(args, inner[start:])
	}
	for i := range args {
		args[i] = strings.TrimSpace(args[i])
	}
	return target, args
}

// typeWords names a CEL type as people do.
func typeWords(t string) string {
	words := map[string]string{"int": "a number", "uint": "a number", "double": "a number", "string": "text", "bool": "true or false",
		"timestamp": "a timestamp", "duration": "a duration", "null": "null", "null_type": "null", "dyn": "a field",
		"events": "a source of events", "event": "an event", "google.protobuf.Timestamp": "a timestamp", "google.protobuf.Duration": "a duration"}
	switch {
	case words[t] != "":
		return words[t]
	case strings.HasPrefix(t, "list("):
		return "a list"
	case strings.HasPrefix(t, "map("):
		return "a map"
	case strings.HasPrefix(t, "wrapper("):
		return typeWords(strings.TrimSuffix(strings.TrimPrefix(t, "wrapper("), ")"))
	}
	return "a value"
}
