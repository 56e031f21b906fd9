package oracle

// listMacros are called on a list (or a map: its keys) with the name of a
// variable and expressions that may use it.
var listMacros = map[string]function{
	"exists":     func(sc *scope, n *node) any { return sc.counted(n, func(held, _ int) bool { return held > 0 }) },
	"exists_one": func(sc *scope, n *node) any { return sc.counted(n, func(held, _ int) bool { return held == 1 }) },
	"all":        func(sc *scope, n *node) any { return sc.counted(n, func(held, of int) bool { return held == of }) },
	"filter":     filterList,
	"map":        mapList,
}

// with evaluates an expression with the macro's variable set.
func (sc *scope) with(variable string, value any, n *node) any {
	inner := *sc
	inner.locals = &local{name: variable, value: value, outer: sc.locals}
	return inner.eval(n)
}

// counted asks how many elements the predicate holds for; false of no collection.
func (sc *scope) counted(n *node, ask func(held, of int) bool) any {
	list, ok := elements(sc.eval(n.args[0]))
	if !ok {
		return false
	}
	held := 0
	for _, e := range list {
		if isTrue(sc.with(n.args[1].name, e, n.args[2])) {
			held++
		}
	}
	return ask(held, len(list))
}

func filterList(sc *scope, n *node) any {
	kept := []any{}
	list, _ := elements(sc.eval(n.args[0]))
	for _, e := range list {
		if isTrue(sc.with(n.args[1].name, e, n.args[2])) {
			kept = append(kept, e)
		}
	}
	return kept
}

// mapList is l.map(x, f) or l.map(x, p, f), which leaves out where p does not hold.
func mapList(sc *scope, n *node) any {
	mapped := []any{}
	list, _ := elements(sc.eval(n.args[0]))
	for _, e := range list {
		if len(n.args) > 3 && !isTrue(sc.with(n.args[1].name, e, n.args[2])) {
			continue
		}
		mapped = append(mapped, sc.with(n.args[1].name, e, n.args[len(n.args)-1]))
	}
	return mapped
}
