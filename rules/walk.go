package rules

import (
	"slices"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
)

// walker goes through a parsed formula: it refuses what CEL's checker lets
// through, gathers the formula's facts, and finds the kinds its values can be of.
type walker struct {
	*checker
	f       *formula
	inBody  bool // inside where() or an aggregate's argument
	follows bool // inside a follower, or a let that may become one: where() knows previous
	inWhere bool // inside where()
	locals  []localVar
}

// localVar is a list macro's variable.
type localVar struct {
	name  string
	kinds kindSet
}

// walk walks a formula and notes what it stands for.
func (c *checker) walk(f *formula) {
	w := &walker{checker: c, f: f, follows: f.let != ""}
	root := f.tree.Expr()
	f.constant = true
	f.sort = w.sortOf(root)
	switch {
	case f.sort == sourceSort && f.let != "":
		w.source(root)
	case f.sort == eventSort && f.let != "":
		w.event(root)
	default:
		f.kinds = w.value(root)
	}
}

func (w *walker) fail(e ast.Expr, format string, args ...any) {
	if w.f.reported == nil {
		w.f.reported = make(map[int64]bool)
	}
	w.f.reported[e.ID()] = true
	w.checker.fail(w.f, w.f.at(e.ID()), format, args...)
}

func (w *walker) warn(e ast.Expr, format string, args ...any) {
	w.warnf(w.f.at(e.ID()), format, args...)
}

// local finds a macro's variable.
func (w *walker) local(name string) (localVar, bool) {
	for i := len(w.locals) - 1; i >= 0; i-- {
		if w.locals[i].name == name {
			return w.locals[i], true
		}
	}
	return localVar{}, false
}

// letNamed returns the let that an identifier names, nil if it names none.
func (w *walker) letNamed(e ast.Expr) *formula {
	if e.Kind() != ast.IdentKind {
		return nil
	}
	if _, shadowed := w.local(e.AsIdent()); shadowed {
		return nil
	}
	return w.lets[e.AsIdent()]
}

// sortOf tells sources and events from values.
func (w *walker) sortOf(e ast.Expr) sort {
	if let := w.letNamed(e); let != nil {
		return let.sort
	}
	if e.Kind() != ast.CallKind {
		return w.sortOfName(e)
	}
	call := e.AsCall()
	name := call.FunctionName()
	if !call.IsMemberFunction() {
		if name == "events" {
			return sourceSort
		}
		return valueSort
	}
	narrows := narrowing[name]
	_, known := functions[name]
	if picks := name == "first" || name == "last"; known && !narrows && !picks {
		return valueSort
	} else if target := w.sortOf(call.Target()); target != sourceSort && target != unknownSort {
		return valueSort
	} else if picks {
		return eventSort
	}
	if !known {
		return unknownSort
	}
	return sourceSort
}

// sortOfName is valueSort for all but names that nothing declares.
func (w *walker) sortOfName(e ast.Expr) sort {
	if e.Kind() != ast.IdentKind {
		return valueSort
	}
	if _, local := w.local(e.AsIdent()); local {
		return valueSort
	}
	switch {
	case e.AsIdent() == previousName:
		return eventSort
	case slices.Contains(roots, e.AsIdent()):
		return valueSort
	}
	return unknownSort
}

// value walks an expression whose value is used, and returns the kinds it can be of.
func (w *walker) value(e ast.Expr) kindSet {
	sort := w.sortOf(e)
	switch {
	case sort == unknownSort && e.Kind() == ast.CallKind:
		w.source(e)
		return anyKind
	case sort == sourceSort:
		w.checker.fail(w.f, w.f.start(e), "a source of events is no value: end it with .exists(), .count() or another aggregate")
		w.source(e)
		return anyKind
	case sort == eventSort:
		w.event(e)
		return anyKind
	}
	switch e.Kind() {
	case ast.LiteralKind:
		return kindsOfLiteral(e)
	case ast.IdentKind:
		return w.ident(e)
	case ast.SelectKind:
		return w.member(e)
	case ast.CallKind:
		return w.call(e)
	case ast.ListKind:
		for _, x := range e.AsList().Elements() {
			w.value(x)
		}
		return listKind
	case ast.MapKind:
		return w.mapLiteral(e)
	case ast.ComprehensionKind:
		return w.macro(e)
	}
	return anyKind
}

func (w *walker) mapLiteral(e ast.Expr) kindSet {
	for _, entry := range e.AsMap().Entries() {
		w.value(entry.AsMapEntry().Key())
		w.value(entry.AsMapEntry().Value())
	}
	return mapKind
}

func (w *walker) macro(e ast.Expr) kindSet {
	m, ok := macroOf(e)
	if !ok {
		return anyKind
	}
	over := w.value(m.over)
	elements := anyKind
	if over&timeKind == 0 && m.over.Kind() == ast.SelectKind {
		elements = fieldKinds
	}
	if slices.Contains(roots, m.variable) {
		w.fail(e, "'%s' already has a meaning: give the variable another name", m.variable)
	}
	inner := *w
	inner.locals = append(w.locals[:len(w.locals):len(w.locals)], localVar{m.variable, elements})
	if m.where != nil {
		inner.value(m.where)
	}
	if m.each != nil {
		inner.value(m.each)
	}
	if m.macro == macroFilter || m.macro == macroMap {
		return listKind
	}
	return boolKind
}

// ident walks a name that stands alone.
func (w *walker) ident(e ast.Expr) kindSet {
	name := e.AsIdent()
	if l, ok := w.local(name); ok {
		return l.kinds
	}
	if let := w.letNamed(e); let != nil {
		return w.letUse(e, let)
	}
	switch {
	case fieldRoots[name]:
		w.fail(e, "'%s' is no value of its own: name a field of it, as in %s.x", name, name)
	case name == "name" || name == "timestamp":
		w.f.constant = false
		if !w.inBody {
			w.fail(e, "'%s' belongs to an event: use it inside where(...) or an aggregate, or take .last().%s", name, name)
		}
		if name == "name" {
			return textKind
		}
		return timeKind
	default:
		if usage, ok := typeNamed(name); ok {
			w.fail(e, "'%s' is a function: write %s", name, usage)
		}
	}
	return anyKind
}

// typeNamed recognises CEL's names of types, which the language does not have.
func typeNamed(name string) (usage string, ok bool) {
	switch name {
	case "int", "double", "string", "timestamp", "duration", "list":
		return functions[name].usage, true
	}
	return "", false
}

func (w *walker) letUse(e ast.Expr, let *formula) kindSet {
	w.f.facts.lets = append(w.f.facts.lets, let.let)
	w.f.constant = w.f.constant && let.constant
	if w.inBody && !let.constant && let.sort != unknownSort {
		w.fail(e, "'%s' is not known inside where(...) and aggregates: they see only properties, context, name, timestamp and constants", let.let)
	}
	return let.kinds
}

// member walks x.key and x["key"].
func (w *walker) member(e ast.Expr) kindSet {
	ch := w.chain(e)
	switch {
	case ch.sort == eventSort && len(ch.keys) == 0: // a computed key
		w.event(ch.base)
		w.dynamic(ch)
		return anyKind
	case ch.sort == eventSort || ch.sort == sourceSort && ch.root == "":
		return w.eventMember(e, ch)
	case ch.root != "":
		return w.field(e, ch)
	}
	w.value(ch.operand)
	if ch.index != nil {
		w.value(ch.index)
	}
	return anyKind
}

// eventMember walks a selection from an event, or, wrongly, from a source.
func (w *walker) eventMember(e ast.Expr, ch chain) kindSet {
	if ch.sort == sourceSort {
		w.source(ch.base)
		if key := ch.keys[0]; functions[key].method {
			w.fail(ch.first, "%s is a function: write %s()", key, key)
		} else {
			w.fail(ch.first, "a source has no fields: take one of an event, as in .last().properties.x")
		}
		return anyKind
	}
	w.event(ch.base)
	switch ch.keys[0] {
	case "properties", "context":
		if len(ch.keys) == 1 {
			w.fail(ch.first, "'%s' is no value of its own: name a field of it, as in %s.x", ch.keys[0], ch.keys[0])
			return anyKind
		}
		w.dynamic(ch)
		w.read(e, ch.keys)
		return fieldKinds
	case "name":
		return textKind | nullKind
	case "timestamp":
		return timeKind | nullKind
	}
	return anyKind
}

// field walks a field of properties, context or traits.
func (w *walker) field(e ast.Expr, ch chain) kindSet {
	w.f.constant = false
	switch {
	case ch.root == "traits" && w.inBody:
		w.fail(ch.base, "'traits' is not known inside where(...) and aggregates: they see only properties, context, name, timestamp and constants")
	case ch.root != "traits" && !w.inBody:
		w.fail(ch.base, "'%s' belongs to an event: use it inside where(...) or an aggregate, or take .last().%s", ch.root, ch.root)
	}
	w.dynamic(ch)
	if len(ch.keys) == 0 {
		if ch.index == nil || ch.index.Kind() == ast.LiteralKind {
			w.fail(ch.base, "'%s' is no value of its own: name a field of it, as in %s.x", ch.root, ch.root)
		}
		return anyKind
	}
	w.read(e, append([]string{ch.root}, ch.keys...))
	return fieldKinds
}

func (w *walker) dynamic(ch chain) {
	if ch.index != nil && ch.index.Kind() != ast.LiteralKind {
		w.checker.fail(w.f, w.f.start(ch.index), "after properties, context and traits only constant keys stand, as in properties.total or properties[\"order-id\"]")
	}
}

func (w *walker) read(e ast.Expr, keys []string) {
	w.f.constant = false
	w.f.facts.reads = append(w.f.facts.reads, fieldRead{keys, w.f.start(e)})
}

// chain is a chain of constant keys: its base, and the keys up to the first
// number or computed key.
type chain struct {
	base    ast.Expr
	sort    sort
	root    string // "properties", "context" or "traits" where the base is that
	keys    []string
	first   ast.Expr // the innermost selection
	operand ast.Expr // of the outermost selection
	index   ast.Expr // the innermost key that is no text; nil: none
}

func (w *walker) chain(e ast.Expr) chain {
	var ch chain
	var reversed []string
	for base := e; ; {
		operand, key, ok := constantKey(base)
		var index ast.Expr
		if !ok {
			if base.Kind() != ast.CallKind || base.AsCall().FunctionName() != operators.Index {
				ch.base = base
				break
			}
			operand, index = base.AsCall().Args()[0], base.AsCall().Args()[1]
			ch.index, reversed = index, nil
		}
		if ok {
			reversed = append(reversed, key)
		}
		if ch.operand == nil {
			ch.operand = operand
		}
		ch.first, base = base, operand
	}
	for i := len(reversed) - 1; i >= 0; i-- {
		ch.keys = append(ch.keys, reversed[i])
	}
	ch.sort = w.sortOf(ch.base)
	if ch.base.Kind() == ast.IdentKind && fieldRoots[ch.base.AsIdent()] {
		if _, local := w.local(ch.base.AsIdent()); !local {
			ch.root = ch.base.AsIdent()
		}
	}
	if len(ch.keys) == 0 && (ch.sort == eventSort || ch.sort == sourceSort) {
		ch.sort = valueSort
	}
	return ch
}

// source walks a source of events.
func (w *walker) source(e ast.Expr) {
	w.f.constant = false
	if let := w.letNamed(e); let != nil {
		w.letUse(e, let)
		return
	}
	if e.Kind() != ast.CallKind {
		return
	}
	call := e.AsCall()
	if !call.IsMemberFunction() {
		if w.inBody {
			w.fail(e, "events() is not known inside where(...) and aggregates: they see only the event itself")
		}
		return
	}
	w.source(call.Target())
	switch name := call.FunctionName(); {
	case name == "where" && len(call.Args()) == 1:
		w.predicate(call.Args()[0])
	case (name == "since" || name == "until") && len(call.Args()) == 1:
		w.value(call.Args()[0])
	case name == "followed_by" || name == "not_followed_by":
		w.followers(e)
	}
}

// predicate walks the argument of where().
func (w *walker) predicate(e ast.Expr) {
	inner := *w
	inner.inWhere = true
	inner.body(e)
}

// followers walks the arguments of followed_by() and not_followed_by().
func (w *walker) followers(e ast.Expr) {
	call := e.AsCall()
	inner := *w
	inner.follows = true
	for i := 0; i < len(call.Args()); i += 2 {
		inner.follower(call.Args()[i])
	}
	if call.FunctionName() == "followed_by" && w.followedAlready(call.Target()) {
		w.warn(e, "both followed_by() ask about the same first event; for a sequence write .followed_by(b, \"1h\", c, \"2h\"), in which c follows b")
	}
}

// follower walks one follower, which is a source.
func (w *walker) follower(e ast.Expr) {
	switch w.sortOf(e) {
	case sourceSort, unknownSort:
		w.source(e)
	default:
		w.checker.fail(w.f, w.f.start(e), "a follower is a source of events, as in .followed_by(events(\"Order Completed\"), \"1h\")")
		w.value(e)
	}
}

// followedAlready reports whether a source has a followed_by() of its own.
func (w *walker) followedAlready(e ast.Expr) bool {
	for e.Kind() == ast.CallKind && e.AsCall().IsMemberFunction() {
		if e.AsCall().FunctionName() == "followed_by" {
			return true
		}
		e = e.AsCall().Target()
	}
	return false
}

// event walks .first() and .last(), and the event before a follower.
func (w *walker) event(e ast.Expr) {
	w.f.constant = false
	if e.Kind() == ast.IdentKind && e.AsIdent() == previousName {
		if !w.inWhere || !w.follows {
			w.fail(e, "'previous' is known only in the where(...) of a follower, as in .followed_by(events(\"…\").where(properties.x == previous.properties.x), \"1h\")")
		}
		return
	}
	if let := w.letNamed(e); let != nil {
		w.letUse(e, let)
		return
	}
	w.source(e.AsCall().Target())
}

// body walks what is evaluated for one event.
func (w *walker) body(e ast.Expr) kindSet {
	inner := *w
	inner.inBody, inner.locals = true, nil
	return inner.value(e)
}
