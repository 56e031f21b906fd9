package rules

import (
	"maps"
	"slices"

	"cel.dev/cel-go/common/ast"
)

// elementRead is a field of a list's elements that a formula reads through the
// variable of a macro: of properties.products.exists(p, p.price > 3) the path
// "properties.products[].price".
type elementRead struct {
	path string
	at   spot
}

// elementReads finds the fields of lists' elements that a formula reads.
func (f *formula) elementReads() []elementRead {
	if f.tree == nil {
		return nil
	}
	var reads []elementRead
	w := elementWalk{f: f, note: func(r elementRead) { reads = append(reads, r) }}
	w.visit(f.tree.Expr())
	return reads
}

// elementWalk goes through an expression with the macros' variables around it.
type elementWalk struct {
	f    *formula
	vars map[string]string // the path of what each stands for; "": not known
	note func(elementRead)
}

func (w elementWalk) visit(e ast.Expr) {
	if path, element := w.path(e); path != "" && element {
		w.note(elementRead{path, w.f.start(e)})
		return
	}
	switch e.Kind() {
	case ast.SelectKind:
		w.visit(e.AsSelect().Operand())
	case ast.CallKind:
		call := e.AsCall()
		if call.IsMemberFunction() {
			w.visit(call.Target())
		}
		for _, arg := range call.Args() {
			w.visit(arg)
		}
	case ast.ListKind:
		for _, x := range e.AsList().Elements() {
			w.visit(x)
		}
	case ast.MapKind:
		for _, entry := range e.AsMap().Entries() {
			w.visit(entry.AsMapEntry().Key())
			w.visit(entry.AsMapEntry().Value())
		}
	case ast.ComprehensionKind:
		w.macro(e)
	}
}

func (w elementWalk) macro(e ast.Expr) {
	m, ok := macroOf(e)
	if !ok {
		return
	}
	w.visit(m.over)
	inner := elementWalk{f: w.f, vars: maps.Clone(w.vars), note: w.note}
	if inner.vars == nil {
		inner.vars = map[string]string{}
	}
	inner.vars[m.variable] = ""
	if path := w.list(m.over); path != "" {
		inner.vars[m.variable] = path + "[]"
	}
	for _, part := range []ast.Expr{m.where, m.each} {
		if part != nil {
			inner.visit(part)
		}
	}
}

// list is the path of a list: a field, or what filter leaves of one.
func (w elementWalk) list(e ast.Expr) string {
	if m, ok := macroOf(e); ok && m.macro == macroFilter {
		return w.list(m.over)
	}
	path, _ := w.path(e)
	return path
}

// path is the path of a chain of constant keys that begins at properties,
// context, traits, an event or a macro's variable, "" if e is none. element
// tells whether a variable begins it.
func (w elementWalk) path(e ast.Expr) (path string, element bool) {
	var keys []string
	for operand, key, ok := constantKey(e); ok; operand, key, ok = constantKey(e) {
		keys, e = append(keys, key), operand
	}
	slices.Reverse(keys)
	switch {
	case len(keys) == 0:
		return "", false
	case e.Kind() == ast.IdentKind:
		return w.below(e.AsIdent(), keys)
	case e.Kind() == ast.CallKind && len(keys) > 1 && fieldRoots[keys[0]]:
		if name := e.AsCall().FunctionName(); name == "first" || name == "last" {
			return pathText(keys[0], keys[1:]), false
		}
	}
	return "", false
}

// below is the path of keys below a name.
func (w elementWalk) below(name string, keys []string) (path string, element bool) {
	base, local := w.vars[name]
	switch {
	case local && base == "":
		return "", false
	case local:
		return pathText(base, keys), true
	case fieldRoots[name]:
		return pathText(name, keys), false
	}
	return "", false
}
