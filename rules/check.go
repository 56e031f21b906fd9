package rules

import (
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
)

// checker checks the expressions of a rules directory and what they say together.
type checker struct {
	*loader
	purposes []purposeDecl // sorted by key
	segments map[string]*segmentDecl
	lists    map[string]*list
	lets     map[string]*formula
	letOrder []string       // earlier ones first
	rules    []*formula     // of segments' when; nil: it cannot be read
	stays    []*formula     // of their stay_while; nil: none, or it cannot be read
	levels   map[string]int // of lets: how many lets deep they are
}

// check judges all that was read, and compiles it if nothing is wrong with it.
func (l *loader) check() *Set {
	c := &checker{
		loader: l, purposes: slices.Clone(l.sections.purposes), segments: make(map[string]*segmentDecl),
		lists: make(map[string]*list), lets: make(map[string]*formula), levels: make(map[string]int),
	}
	slices.SortFunc(c.purposes, func(a, b purposeDecl) int { return strings.Compare(a.Key, b.Key) })
	for i := range l.sections.lists {
		c.lists[l.sections.lists[i].key] = &l.sections.lists[i].list
	}
	for i := range l.sections.segments {
		c.segments[l.sections.segments[i].key] = &l.sections.segments[i]
	}
	env := c.checkLets()
	c.checkRules(env)
	c.checkPurposes()
	c.checkReferences()
	return c.compile()
}

// baseEnv returns the declarations without lets.
func (c *checker) baseEnv() *cel.Env {
	env, err := newEnv(nil)
	if err != nil {
		panic("invariant: the language's declarations agree: " + err.Error())
	}
	return env
}

// checkRules checks every segment's rules.
func (c *checker) checkRules(env *cel.Env) {
	c.rules = make([]*formula, len(c.sections.segments))
	c.stays = make([]*formula, len(c.sections.segments))
	for i := range c.sections.segments {
		c.rules[i] = c.checkRule(env, c.sections.segments[i].expr)
		c.stays[i] = c.checkRule(env, c.sections.segments[i].stay)
	}
}

// checkRule checks one rule; nil stays nil.
func (c *checker) checkRule(env *cel.Env, text *ruleText) *formula {
	if text == nil {
		return nil
	}
	f := &formula{text: text}
	if !c.parse(env, f) {
		return f
	}
	c.walk(f)
	c.typeCheck(env, f)
	if f.typed != nil && !f.failed {
		c.mustBeBoolean(f)
	}
	return f
}

// formulasOf returns the rules of a segment that could be read.
func (c *checker) formulasOf(i int) (all []*formula) {
	for _, f := range []*formula{c.rules[i], c.stays[i]} {
		if f != nil {
			all = append(all, f)
		}
	}
	return all
}

// usedBy returns the rules of a segment and the lets they use, directly or
// through others, each once.
func (c *checker) usedBy(i int) []*formula { return c.used(c.formulasOf(i)...) }

// mustBeBoolean refuses a rule that is no condition.
func (c *checker) mustBeBoolean(f *formula) {
	if k := f.typ.Kind(); k == cel.BoolKind || k == cel.DynKind && f.kinds&boolKind != 0 {
		return
	}
	what := typeWords(f.typ.String())
	if f.typ.Kind() == cel.DynKind {
		what = f.kinds.String()
	}
	c.fail(f, f.start(f.tree.Expr()), "a rule must be true or false; this is %s", what)
}

// fail reports an error of a formula.
func (c *checker) fail(f *formula, at spot, format string, args ...any) {
	f.failed = true
	c.errorf(at, format, args...)
}

// compile compiles the segments that nothing is wrong with, so that what only
// compilation sees is reported with the rest.
func (c *checker) compile() *Set {
	whole, origin := c.sound()
	set, problems := compileSet(whole)
	formulaOf := func(p exprPlace) *formula {
		switch {
		case p.let >= 0:
			return c.lets[whole.lets[p.let].name]
		case p.stay:
			return c.stays[origin[p.segment]]
		}
		return c.rules[origin[p.segment]]
	}
	for _, p := range problems {
		f := formulaOf(p.exprPlace)
		c.fail(f, f.at(p.exprID), "%s", p.message)
	}
	c.warnings(set, formulaOf)
	if set != nil {
		set.uses = c.uses()
	}
	return set
}

// sound gathers what can be compiled; origin is, by index of its segments,
// their index in the sections.
func (c *checker) sound() (whole *checked, origin []int) {
	whole = &checked{revision: c.sections.revision, lists: c.lists}
	for _, p := range c.purposes {
		whole.purposes = append(whole.purposes, p.Purpose)
	}
	for _, d := range c.sections.data {
		whole.fields = append(whole.fields, d.dataField)
	}
	for _, name := range c.letOrder {
		if f := c.lets[name]; f.typed != nil && !f.failed {
			whole.lets = append(whole.lets, checkedLet{name: name, ast: f.typed, outType: f.typ})
		}
	}
	sound := c.soundRules()
	for i, d := range c.sections.segments {
		if !sound[d.key] {
			continue
		}
		s := d.checkedSegment
		s.purpose, s.ast = c.purposeIndex(d.purpose), c.rules[i].typed
		if c.stays[i] != nil {
			s.stayAST = c.stays[i].typed
		}
		whole.segments = append(whole.segments, s)
		origin = append(origin, i)
	}
	return whole, origin
}

// soundRules returns the keys of the segments that have no error, directly or
// through what they name.
func (c *checker) soundRules() map[string]bool {
	sound := make(map[string]bool)
	for i, d := range c.sections.segments {
		sound[d.key] = c.rules[i] != nil && (d.stay == nil) == (c.stays[i] == nil) && c.purposeIndex(d.purpose) >= 0 && !c.failing(i)
	}
	for changed := true; changed; {
		changed = false
		for i, d := range c.sections.segments {
			if sound[d.key] && slices.ContainsFunc(c.allRefs(i), func(r nameUse) bool { return !sound[r.name] }) {
				sound[d.key], changed = false, true
			}
		}
	}
	return sound
}

// failing reports whether a rule of a segment, or a let it uses, has an error.
func (c *checker) failing(i int) bool { return slices.ContainsFunc(c.usedBy(i), (*formula).broken) }

func (f *formula) broken() bool { return f.failed || f.typed == nil }

// used returns formulas and the lets they use, directly or through others.
func (c *checker) used(all ...*formula) []*formula {
	for i := 0; i < len(all); i++ {
		for _, name := range all[i].facts.lets {
			if g := c.lets[name]; g != nil && !slices.Contains(all, g) {
				all = append(all, g)
			}
		}
	}
	return all
}

// allRefs returns the segments that a segment names, its lets' too.
func (c *checker) allRefs(i int) (refs []nameUse) {
	for _, g := range c.usedBy(i) {
		refs = append(refs, g.facts.refs...)
	}
	return refs
}

func (c *checker) purposeIndex(key string) int {
	return slices.IndexFunc(c.purposes, func(p purposeDecl) bool { return p.Key == key })
}
