package rules

import (
	"regexp"
	"slices"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"

	"github.com/segmentd/segmentd/state/subject"
)

// refuse reports what the parsed form alone shows to be no part of the
// language, or not of this version: by name, so that a rule with a type error
// has it reported too.
func (c *checker) refuse(f *formula) {
	ast.PreOrderVisit(f.tree.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		switch e.Kind() {
		case ast.CallKind:
			c.refuseCall(f, e)
		case ast.IdentKind:
			c.refuseIdent(f, e)
		case ast.StructKind:
			c.fail(f, f.at(e.ID()), "'%s{…}' is not part of the rule language", e.AsStruct().TypeName())
		case ast.LiteralKind:
			c.refuseLiteral(f, e)
		}
	}))
}

func (c *checker) refuseIdent(f *formula, e ast.Expr) {
	name := e.AsIdent()
	switch {
	case strings.HasPrefix(name, "."):
		c.fail(f, f.at(e.ID()), "a name begins with a letter, not with '.'")
	}
}

func (c *checker) refuseLiteral(f *formula, e ast.Expr) {
	switch e.AsLiteral().(type) {
	case types.Uint:
		c.fail(f, f.at(e.ID()), "numbers are written without u")
	case types.Bytes:
		c.fail(f, f.at(e.ID()), "bytes are not part of the rule language: write text without b before the quote")
	}
}

func (c *checker) refuseCall(f *formula, e ast.Expr) {
	call := e.AsCall()
	name := call.FunctionName()
	switch {
	case strings.HasPrefix(name, "."):
		c.fail(f, f.at(e.ID()), "a name begins with a letter, not with '.'")
		return
	case foreign[name] != "" && !call.IsMemberFunction():
		c.fail(f, f.at(e.ID()), "%s() is not part of the rule language: %s", name, foreign[name])
		return
	}
	check, ok := literalArgs[name]
	if slices.Contains(dateGetters, name) {
		check, ok = (*checker).zoneArg, true
	}
	if ok && (call.IsMemberFunction() == functions[name].method) {
		for i, arg := range call.Args() {
			check(c, f, call, i, arg)
		}
	}
}

// literalArgs check the arguments that must be written out.
var literalArgs = map[string]func(c *checker, f *formula, call ast.CallExpr, i int, arg ast.Expr){
	"events":    (*checker).eventName,
	"segment":   (*checker).literalName,
	"list":      (*checker).literalName,
	"bucket":    (*checker).literalName,
	"within":    (*checker).windowArg,
	"between":   (*checker).windowArg,
	"ago":       (*checker).durationArg,
	"ahead":     (*checker).durationArg,
	"since":     (*checker).instantArg,
	"until":     (*checker).instantArg,
	"timestamp": (*checker).timestampArg,
	"duration":  (*checker).timestampArg,
	"matches":   (*checker).patternArg,

	"since_midnight":  (*checker).midnightArg,
	"followed_by":     (*checker).followerArg,
	"not_followed_by": (*checker).followerArg,
	"days":            (*checker).zoneArg,
	"periods":         (*checker).periodsArg,
	"held":            (*checker).heldArg,
	"anniversary":     (*checker).anniversaryArg,
	"local_hour":      (*checker).zoneArg,
	"local_weekday":   (*checker).zoneArg,
}

func (c *checker) literalName(f *formula, call ast.CallExpr, _ int, arg ast.Expr) {
	if _, ok := stringLiteral(arg); !ok {
		c.fail(f, f.start(arg), "%s() takes a name written out in quotes, as in %s", call.FunctionName(), functions[call.FunctionName()].usage)
	}
}

func (c *checker) eventName(f *formula, call ast.CallExpr, i int, arg ast.Expr) {
	name, ok := stringLiteral(arg)
	switch {
	case !ok:
		c.literalName(f, call, i, arg)
	case name == "":
		c.fail(f, f.at(arg.ID()), "the name of the event is empty")
	case strings.Contains(strings.TrimSuffix(name, "*"), "*"):
		c.fail(f, f.at(arg.ID()), "'*' stands only at the end of a name, for all names with that beginning")
	default:
		f.facts.names = append(f.facts.names, nameUse{name, f.at(arg.ID())})
	}
}

// durationArg reads a duration; ok is false if it is none.
func (c *checker) durationArg(f *formula, call ast.CallExpr, i int, arg ast.Expr) {
	c.literalDuration(f, call, arg)
}

func (c *checker) literalDuration(f *formula, call ast.CallExpr, arg ast.Expr) (micros int64, ok bool) {
	text, ok := stringLiteral(arg)
	if !ok {
		c.fail(f, f.start(arg), "%s() takes a duration written out in quotes, as in %s", call.FunctionName(), functions[call.FunctionName()].usage)
		return 0, false
	}
	micros, err := parseDuration(text)
	if err != nil {
		c.fail(f, f.at(arg.ID()), "'%s' is %v", text, err)
	}
	return micros, err == nil
}

func (c *checker) windowArg(f *formula, call ast.CallExpr, i int, arg ast.Expr) {
	micros, ok := c.literalDuration(f, call, arg)
	if !ok {
		return
	}
	text, _ := stringLiteral(arg)
	if i == 0 {
		f.facts.windows = append(f.facts.windows, windowUse{micros, text, f.at(arg.ID())})
	}
	switch {
	case i == 0 && micros == 0:
		c.fail(f, f.at(arg.ID()), "the window is empty: it must be longer than nothing")
	case i == 1 && call.FunctionName() == "between":
		first, _ := stringLiteral(call.Args()[0])
		if from, err := parseDuration(first); err == nil && from > 0 && from <= micros {
			c.fail(f, f.at(call.Args()[0].ID()), "the window is empty: between(\"90d\", \"30d\") begins with the earlier end, so '%s' must be longer than '%s'", first, text)
		}
	}
}

// instantArg wants timestamp("…").
func (c *checker) instantArg(f *formula, call ast.CallExpr, _ int, arg ast.Expr) {
	if _, ok := fixedInstant(arg); ok || arg.Kind() == ast.IdentKind && c.lets[arg.AsIdent()] != nil {
		return // what a let stands for is judged when it is compiled
	}
	if arg.Kind() == ast.CallKind && arg.AsCall().FunctionName() == "timestamp" && len(arg.AsCall().Args()) == 1 && arg.AsCall().Args()[0].Kind() == ast.LiteralKind {
		return // timestampArg tells
	}
	c.fail(f, f.start(arg), "%s() takes a fixed instant, as in %s", call.FunctionName(), functions[call.FunctionName()].usage)
}

// fixedInstant reads timestamp("…") and timestamp(number).
func fixedInstant(e ast.Expr) (subject.Instant, bool) {
	if e.Kind() != ast.CallKind || e.AsCall().FunctionName() != "timestamp" || len(e.AsCall().Args()) != 1 {
		return 0, false
	}
	v, ok := constantOf(e.AsCall().Args()[0])
	t := toTimestamp(v)
	return t.Instant(), ok && t.Kind() == subject.Time
}

// constantOf reads a literal text or number.
func constantOf(e ast.Expr) (subject.Value, bool) {
	if e.Kind() != ast.LiteralKind {
		return null, false
	}
	switch v := e.AsLiteral().(type) {
	case types.String:
		return subject.OfString(string(v)), true
	case types.Int:
		return subject.OfInt(int64(v)), true
	case types.Double:
		n, ok := subject.Float(float64(v))
		return number(n, ok), ok
	}
	return null, false
}

// timestampArg judges the literals that timestamp() and duration() convert.
func (c *checker) timestampArg(f *formula, call ast.CallExpr, _ int, arg ast.Expr) {
	v, ok := constantOf(arg)
	if !ok {
		return
	}
	switch {
	case call.FunctionName() == "timestamp" && toTimestamp(v).IsNull():
		c.fail(f, f.at(arg.ID()), "not a timestamp: write RFC 3339, as in \"2026-01-31T12:00:00Z\", or a date, as in \"2026-01-31\"")
	case call.FunctionName() == "duration" && toDuration(v).IsNull():
		c.fail(f, f.at(arg.ID()), "%v", errDuration)
	}
}

func (c *checker) patternArg(f *formula, _ ast.CallExpr, _ int, arg ast.Expr) {
	text, ok := stringLiteral(arg)
	if !ok {
		return
	}
	if _, err := regexp.Compile(text); err != nil {
		c.fail(f, f.at(arg.ID()), "%s", strings.Replace(err.Error(), "error parsing regexp: ", "not a regular expression (RE2): ", 1))
	}
}

// refusedAt reports whether an expression was refused by name.
func (f *formula) refusedAt(e ast.Expr) bool {
	if e == nil {
		return false
	}
	switch e.Kind() {
	case ast.CallKind:
		call := e.AsCall()
		name := call.FunctionName()
		return foreign[name] != "" && !call.IsMemberFunction() || strings.HasPrefix(name, ".") ||
			slices.ContainsFunc(call.Args(), f.refusedAt)
	case ast.StructKind:
		return true
	case ast.LiteralKind:
		kind := e.AsLiteral().Type()
		return kind == types.UintType || kind == types.BytesType
	case ast.IdentKind:
		return strings.HasPrefix(e.AsIdent(), ".")
	}
	return false
}
