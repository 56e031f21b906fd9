package rules

import (
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	"github.com/segmentd/segmentd/state/subject"
)

// maxNodes bounds a rule once its lets are inlined.
const maxNodes = 20_000

// compile compiles an expression to closures.
func (s *scope) compile(e ast.Expr) node {
	if s.rule.nodes++; s.rule.nodes >= maxNodes {
		if s.rule.nodes == maxNodes {
			return s.fail(e, "the rule is too large once its lets are put in")
		}
		return literal(null)
	}
	if s.inEvent || len(s.vars) > 0 {
		return s.expression(e)
	}
	s.rule.outliner.begin()
	n := s.expression(e)
	s.rule.outliner.end(s, e, n)
	return n
}

// expression compiles an expression of any form.
func (s *scope) expression(e ast.Expr) node {
	e, s = s.resolve(e)
	switch e.Kind() {
	case ast.LiteralKind:
		return s.literal(e)
	case ast.IdentKind:
		return s.ident(e)
	case ast.SelectKind:
		return s.chain(e)
	case ast.ListKind:
		return s.listLiteral(e)
	case ast.MapKind:
		return s.mapLiteral(e)
	case ast.CallKind:
		return s.call(e)
	case ast.ComprehensionKind:
		return s.macro(e)
	}
	return s.fail(e, "this form of expression is not part of the rule language")
}

func (s *scope) literal(e ast.Expr) node {
	switch c := e.AsLiteral().(type) {
	case types.Bool:
		return literal(subject.OfBool(bool(c)))
	case types.Int:
		return literal(subject.OfInt(int64(c)))
	case types.Double:
		return literal(number(subject.Float(float64(c))))
	case types.String:
		return literal(subject.OfString(string(c)))
	case types.Null:
		return literal(null)
	}
	return s.fail(e, "a literal of this kind is not part of the rule language")
}

func (s *scope) ident(e ast.Expr) node {
	name := e.AsIdent()
	if local, ok := s.variable(name); ok {
		return valued(fmt.Sprintf("$%d", local), func(v *View) subject.Value { return v.scratch.locals[local] })
	}
	switch name {
	case "properties", "context", "traits", previousName:
		return s.fail(e, fmt.Sprintf("%s is no value of its own: name a field of it, as in %s.x", name, name))
	}
	if !s.inEvent || name != "name" && name != "timestamp" {
		return s.fail(e, fmt.Sprintf("%s is not known here: inside where(...) and aggregates only properties, context, name and timestamp are, outside only the others", name))
	}
	n := timestampOfEvent()
	if name == "name" {
		n = nameOfEvent()
	}
	if s.pair != nil {
		return s.pair.later(n)
	}
	return n
}

func nameOfEvent() node {
	return valued("name", func(v *View) subject.Value { return subject.OfString(v.scratch.event.Name) })
}

func timestampOfEvent() node {
	return valued("timestamp", func(v *View) subject.Value { return subject.OfTime(v.scratch.event.Time) })
}

// chain compiles x.key and x["key"]: a field, a trait, a selection from the
// first or last event, or a member of a computed map.
func (s *scope) chain(e ast.Expr) node {
	a := s.access(e)
	switch root := a.root(); root {
	case "properties", "context":
		if !a.scope.inEvent {
			return s.fail(e, fmt.Sprintf("%s belongs to an event: use it inside where(...) or an aggregate, or take .last().%s", root, root))
		}
		return s.eventField(root, a.keys)
	case previousName:
		return s.previousField(e, a.keys)
	case "traits":
		if a.scope.inEvent {
			return s.fail(e, "traits are not known inside where(...) and aggregates")
		}
		return s.trait(a.keys)
	}
	if name, _, _, _ := a.scope.methodCall(a.base, 0); name == "first" || name == "last" {
		return a.scope.selection(a.base, a.keys)
	}
	return s.member(e)
}

// member compiles one constant key of a computed value.
func (s *scope) member(e ast.Expr) node {
	operand, key, _ := constantKey(e)
	x := s.compile(operand)
	n := valued(pathText(x.text, []string{key}), func(v *View) subject.Value { return x.value(v).Get(key) })
	return n.folded(x)
}

// eventField compiles a field of the event in scope.
func (s *scope) eventField(root string, keys []string) node {
	if n := s.rawField(root, keys); s.pair != nil {
		return s.pair.later(n)
	} else {
		return n
	}
}

// rawField reads a field of an event as it was decoded.
func (s *scope) rawField(root string, keys []string) node {
	slot, path := s.fields.slot(root, keys), pathText(root, keys)
	s.rule.fields[path] = true
	n := node{
		text: path, slot: slot,
		value: func(v *View) subject.Value { return *v.scratch.field(slot) },
		truth: func(v *View) bool { return v.scratch.field(slot).IsTrue() },
	}
	if m := s.fields.fields.Slots[slot].Min; m != nil {
		n.text += "{min " + m.String() + "}"
	}
	return n
}

func (s *scope) trait(keys []string) node {
	s.fields.trait(s.purpose(), keys)
	s.rule.traits[keys[0]] = true
	s.rule.outliner.reads().trait = keys[0]
	text := pathText("traits", keys)
	s.rule.fields[text] = true
	first, rest := keys[0], keys[1:]
	if len(rest) == 0 {
		return valued(text, func(v *View) subject.Value { return v.Purpose.Trait(first) })
	}
	return valued(text, func(v *View) subject.Value {
		value := v.Purpose.Trait(first)
		for _, k := range rest {
			value = value.Get(k)
		}
		return value
	})
}

func (s *scope) purpose() int { return s.set.segments[s.rule.segment].purpose }

func (s *scope) compileAll(list []ast.Expr) []node {
	nodes := make([]node, len(list))
	for i, e := range list {
		nodes[i] = s.compile(e)
	}
	return nodes
}

func (s *scope) listLiteral(e ast.Expr) node {
	nodes := s.compileAll(e.AsList().Elements())
	texts := make([]string, len(nodes))
	for i, n := range nodes {
		texts[i] = n.text
	}
	n := valued("["+strings.Join(texts, ", ")+"]", func(v *View) subject.Value {
		list := make([]subject.Value, len(nodes))
		for i := range nodes {
			list[i] = nodes[i].value(v)
		}
		return subject.OfList(list)
	})
	return n.folded(nodes...)
}

func (s *scope) mapLiteral(e ast.Expr) node {
	var keys []string
	var nodes []node
	var texts []string
	for _, entry := range e.AsMap().Entries() {
		m := entry.AsMapEntry()
		key, ok := stringLiteral(m.Key())
		if !ok {
			return s.fail(m.Key(), "the keys of a map must be literal strings")
		}
		if slices.Contains(keys, key) {
			return s.fail(m.Key(), fmt.Sprintf("the key %q stands twice", key))
		}
		n := s.compile(m.Value())
		keys, nodes = append(keys, key), append(nodes, n)
		texts = append(texts, constantText(subject.OfString(key))+": "+n.text)
	}
	slices.Sort(texts)
	n := valued("{"+strings.Join(texts, ", ")+"}", func(v *View) subject.Value {
		fields := make([]subject.Field, len(nodes))
		for i := range nodes {
			fields[i] = subject.Field{Key: keys[i], Value: nodes[i].value(v)}
		}
		return subject.OfMap(fields)
	})
	return n.folded(nodes...)
}

// call compiles operators, functions and methods.
func (s *scope) call(e ast.Expr) node {
	c := e.AsCall()
	name := c.FunctionName()
	if op, ok := comparisons[name]; ok {
		return s.comparison(e, op)
	}
	switch name {
	case operators.LogicalAnd:
		return s.and(c)
	case operators.LogicalOr:
		return either(s.compile(c.Args()[0]), s.compile(c.Args()[1]))
	case operators.LogicalNot:
		x := s.compile(c.Args()[0])
		truth := x.truth
		return judged("!"+x.text, func(v *View) bool { return !truth(v) }).folded(x)
	case operators.Conditional:
		return s.conditional(c)
	case operators.Index:
		return s.element(e)
	case operators.In:
		return s.in(c)
	case hasCall:
		return s.has(c.Args()[0])
	}
	if !c.IsMemberFunction() {
		if n, ok := s.ruleCall(e); ok {
			return n
		}
	}
	if c.IsMemberFunction() && aggregates[name] && s.isSource(c.Target()) {
		return s.aggregate(e)
	}
	return s.function(e)
}

func (s *scope) and(c ast.CallExpr) node {
	n := both(s.compile(c.Args()[0]), s.compile(c.Args()[1]))
	n.pick = pickOf(n.parts)
	return n
}

// pickOf returns the equality of a conjunction that singles out most.
func pickOf(parts []node) (best *pick) {
	for _, p := range parts {
		if p.pick != nil && (best == nil || len(p.pick.texts) < len(best.texts)) {
			best = p.pick
		}
	}
	return best
}

func (s *scope) conditional(c ast.CallExpr) node {
	n := s.compileAll(c.Args())
	cond, a, b := n[0].truth, n[1], n[2]
	text := "(" + n[0].text + " ? " + a.text + " : " + b.text + ")"
	if n[0].constant {
		if n[0].constantValue().IsTrue() {
			return a
		}
		return b
	}
	r := valued(text, func(v *View) subject.Value {
		if cond(v) {
			return a.value(v)
		}
		return b.value(v)
	})
	r.truth = func(v *View) bool {
		if cond(v) {
			return a.truth(v)
		}
		return b.truth(v)
	}
	return r
}

// element compiles x[i].
func (s *scope) element(e ast.Expr) node {
	if _, _, ok := constantKey(e); ok {
		return s.chain(e)
	}
	n := s.compileAll(e.AsCall().Args())
	x, i := n[0].value, n[1].value
	return valued(n[0].text+"["+n[1].text+"]", func(v *View) subject.Value { return elementOf(x(v), i(v)) }).folded(n...)
}

func (s *scope) has(arg ast.Expr) node {
	if name, _, in, at := s.methodCall(arg, 0); name == "first" || name == "last" {
		return in.anyEvent(at)
	}
	x := s.compile(arg)
	value := x.value
	return judged("has("+x.text+")", func(v *View) bool { return !value(v).IsNull() }).folded(x)
}

// macro compiles exists, exists_one, all, filter and map to loops.
func (s *scope) macro(e ast.Expr) node {
	m, ok := macroOf(e)
	if !ok {
		return s.fail(e, "this form of expression is not part of the rule language")
	}
	if s.depth == maxLocals {
		return s.fail(e, fmt.Sprintf("list macros are nested more than %d deep", maxLocals))
	}
	over, body := s.compile(m.over), s.bind(m.variable)
	l := loop{local: s.depth, over: over.value, where: always, each: nil}
	text := over.text + "." + strings.TrimPrefix(m.macro, "@") + "($" + fmt.Sprint(s.depth)
	if m.where != nil {
		w := body.compile(m.where)
		l.where, text = w.truth, text+", "+w.text
	}
	if m.each != nil {
		x := body.compile(m.each)
		l.each, text = x.value, text+", "+x.text
	}
	return l.node(m.macro, text+")")
}
