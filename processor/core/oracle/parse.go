package oracle

import (
	"errors"
	"fmt"
	"maps"

	"cel.dev/cel-go/common"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
)

// node is one node of a rule's tree.
type node struct {
	kind  nodeKind
	value any     // of a literal
	name  string  // of a name, a selected field, a function
	args  []*node // operand of a selection, arguments, elements, keys and values in turn
	call  function
	src   *source
	memo  int // slot of an event that remembers the node's value for it; forgetful: none
	zone  *zone
	held  int // index of a held among all helds
	least int // of periods: the events that a window must hold
}

type nodeKind int

const (
	literalNode nodeKind = iota
	nameNode
	selectNode
	callNode
	listNode
	mapNode
	sourceNode
)

var errRule = errors.New("a rule the oracle cannot read")

// converter turns cel-go's tree into ours for one segment.
type converter struct {
	set    *ruleSet
	seg    *segment
	lets   map[string]string
	locals map[string]bool // variables of list macros around
}

// parseConditions parses a segment's when and stay_while.
func (set *ruleSet) parseConditions(s *segment, e segmentEntry, lets map[string]string) (err error) {
	c := &converter{set: set, seg: s, lets: lets, locals: map[string]bool{}}
	if s.when, err = c.text(e.When); err != nil || e.StayWhile == "" {
		return err
	}
	s.stay, err = c.text(e.StayWhile)
	return err
}

func (c *converter) text(s string) (*node, error) {
	tree, errs := c.set.parser.Parse(common.NewTextSource(s))
	if errs != nil && len(errs.GetErrors()) > 0 {
		return nil, errors.New(errs.ToDisplayString())
	}
	return c.convert(tree.Expr())
}

func (c *converter) convert(e ast.Expr) (*node, error) {
	switch e.Kind() {
	case ast.LiteralKind:
		return literal(e)
	case ast.IdentKind:
		return c.ident(e.AsIdent())
	case ast.SelectKind:
		operand, err := c.convert(e.AsSelect().Operand())
		return c.selection(operand, e.AsSelect().FieldName()), err
	case ast.CallKind:
		return c.function(e.AsCall())
	case ast.ListKind:
		args, err := c.all(e.AsList().Elements())
		return &node{kind: listNode, args: args}, err
	case ast.MapKind:
		return c.mapLiteral(e.AsMap())
	}
	return nil, errRule
}

func (c *converter) all(list []ast.Expr) ([]*node, error) {
	nodes := make([]*node, len(list))
	for i, e := range list {
		n, err := c.convert(e)
		if err != nil {
			return nil, err
		}
		nodes[i] = n
	}
	return nodes, nil
}

func literal(e ast.Expr) (*node, error) {
	n := &node{kind: literalNode}
	switch v := e.AsLiteral().(type) {
	case types.Null:
	case types.Bool:
		n.value = bool(v)
	case types.Int:
		n.value = number(int64(v))
	case types.Double:
		n.value = fromFloat(float64(v))
	case types.String:
		n.value = string(v)
	default:
		return nil, fmt.Errorf("literal of %s: %w", v.Type(), errRule)
	}
	return n, nil
}

func (c *converter) ident(name string) (*node, error) {
	if text, ok := c.lets[name]; ok && !c.locals[name] {
		outer := c.locals
		c.locals = map[string]bool{}
		defer func() { c.locals = outer }()
		return c.text(text)
	}
	return &node{kind: nameNode, name: name}, nil
}

func (c *converter) selection(operand *node, field string) *node {
	if operand != nil && operand.kind == nameNode && operand.name == "traits" && !c.locals["traits"] {
		c.seg.purpose.reads.traits[field] = true
	}
	return &node{kind: selectNode, name: field, args: []*node{operand}}
}

func (c *converter) mapLiteral(m ast.MapExpr) (*node, error) {
	n := &node{kind: mapNode}
	for _, e := range m.Entries() {
		pair, err := c.all([]ast.Expr{e.AsMapEntry().Key(), e.AsMapEntry().Value()})
		if err != nil {
			return nil, err
		}
		n.args = append(n.args, pair...)
	}
	return n, nil
}

func (c *converter) function(call ast.CallExpr) (*node, error) {
	name, list := call.FunctionName(), call.Args()
	if call.IsMemberFunction() {
		list = append([]ast.Expr{call.Target()}, list...)
		if f, ok := listMacros[name]; ok && len(list) > 2 {
			return c.macro(f, name, list)
		}
	}
	args, err := c.all(list)
	if err != nil {
		return nil, err
	}
	if name == "_[_]" && args[1].kind == literalNode {
		if field, ok := args[1].value.(string); ok {
			return c.selection(args[0], field), nil
		}
	}
	if n, err := c.special(name, args); n != nil || err != nil {
		return n, err
	}
	f, ok := functions[name]
	if !ok {
		return nil, fmt.Errorf("%s: %w", name, ErrNotAvailable)
	}
	return &node{kind: callNode, name: name, args: args, call: f}, nil
}

// macro converts e.exists(x, p) and its like; args are the list, the variable's
// name and the bodies.
func (c *converter) macro(f function, name string, list []ast.Expr) (*node, error) {
	over, err := c.convert(list[0])
	if err != nil {
		return nil, err
	}
	variable := list[1].AsIdent()
	outer := c.locals
	c.locals = maps.Clone(outer)
	c.locals[variable] = true
	defer func() { c.locals = outer }()
	bodies, err := c.all(list[2:])
	return &node{kind: callNode, name: name, call: f, args: append([]*node{over, {kind: nameNode, name: variable}}, bodies...)}, err
}

// special converts what concerns sources and what leaves a trace in the rule set.
func (c *converter) special(name string, args []*node) (*node, error) {
	onSource := len(args) > 0 && args[0].kind == sourceNode
	switch {
	case name == "events":
		return c.events(args)
	case onSource && sourceMethods[name]:
		return c.narrow(name, args)
	case onSource:
		return c.aggregate(name, args)
	case name == "segment":
		c.seg.after = append(c.seg.after, args[0].value.(string))
	case name == "ago" || name == "ahead":
		d, err := c.span(args[0])
		return &node{kind: callNode, name: name, value: d, call: functions[name]}, err
	case name == "held":
		return c.held(args)
	case zoned[name]:
		return c.zoned(name, args)
	}
	return nil, nil
}

// held numbers a held, one within another first.
func (c *converter) held(args []*node) (*node, error) {
	if len(c.locals) > 0 {
		return nil, fmt.Errorf("held inside a list macro: %w", errRule)
	}
	d, err := c.span(args[1])
	n := &node{kind: callNode, name: "held", args: args[:1], value: d, call: heldAnswer, held: c.set.helds}
	c.set.helds++
	c.seg.helds = append(c.seg.helds, n)
	return n, err
}

// zoned converts a function whose last argument is a zone, which a getter may
// leave out for UTC.
func (c *converter) zoned(name string, args []*node) (n *node, err error) {
	n = &node{kind: callNode, name: name, args: args, call: functions[name]}
	text := "UTC"
	if _, getter := getters[name]; !getter || len(args) > 1 {
		text, _ = args[len(args)-1].value.(string)
		n.args = args[:len(args)-1]
	}
	if n.zone, err = c.set.zone(text); err != nil || name != "anniversary" {
		return n, err
	}
	n.value, err = c.span(args[1])
	return n, err
}
