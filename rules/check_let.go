package rules

import (
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
)

// checkLets checks the lets, each after those it uses, and returns the
// declarations with all of them.
func (c *checker) checkLets() *cel.Env {
	env := c.baseEnv()
	for _, d := range c.sections.lets {
		f := &formula{let: d.name, text: d.expr, sort: unknownSort, kinds: anyKind}
		c.lets[d.name] = f
		c.parse(env, f)
	}
	c.orderLets()
	for level := 0; ; level++ {
		var declared []cel.EnvOption
		for _, name := range c.letOrder {
			if c.levels[name] == level {
				declared = append(declared, cel.Variable(name, c.checkLet(env, c.lets[name])))
			}
		}
		if declared == nil {
			return env
		}
		next, err := env.Extend(declared...)
		if err != nil {
			c.errorf(c.lets[c.letOrder[0]].text.start(), "the lets cannot be declared: %v", err)
			return env
		}
		env = next
	}
}

// checkLet returns the type under which others see the let.
func (c *checker) checkLet(env *cel.Env, f *formula) *cel.Type {
	if f.tree != nil && !f.failed {
		c.walk(f)
		c.typeCheck(env, f)
	}
	switch {
	case f.typed != nil:
		return f.typ
	case f.sort == sourceSort:
		return eventsType
	}
	return cel.DynType
}

// orderLets finds an order in which every let comes after those it uses, and
// how deep they are. Those of a cycle are reported and come last.
func (c *checker) orderLets() {
	state := make(map[string]int) // 1: being visited, 2: done
	var path []string
	var visit func(name string) int
	visit = func(name string) int {
		if state[name] == 2 {
			return c.levels[name]
		}
		state[name] = 1
		path = append(path, name)
		level := 0
		for _, other := range c.letsIn(c.lets[name]) {
			if state[other] == 1 {
				c.letCycle(path[slices.Index(path, other):])
				continue
			}
			level = max(level, visit(other)+1)
		}
		path = path[:len(path)-1]
		state[name], c.levels[name] = 2, level
		c.letOrder = append(c.letOrder, name)
		return level
	}
	for _, d := range c.sections.lets {
		visit(d.name)
	}
}

func (c *checker) letCycle(cycle []string) {
	f := c.lets[cycle[0]]
	c.fail(f, f.text.start(), "the lets use each other: %s", strings.Join(append(slices.Clone(cycle), cycle[0]), " → "))
	for _, name := range cycle {
		c.lets[name].failed = true
	}
}

// letsIn returns the lets that a parsed formula names.
func (c *checker) letsIn(f *formula) (names []string) {
	if f.tree == nil {
		return nil
	}
	ast.PreOrderVisit(f.tree.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() == ast.IdentKind && c.lets[e.AsIdent()] != nil && !slices.Contains(names, e.AsIdent()) {
			names = append(names, e.AsIdent())
		}
	}))
	return names
}
