package rules

import (
	"fmt"
	"slices"
	"strings"
)

// warnSpecial reports names that suggest special categories of data where
// nothing says whether they are: fields without `special`, events and keys in
// segments without `infers`. It is a lint of names: special data under another
// name is not found, and `special: false` or `infers: []` says that a name was
// considered.
func (c *checker) warnSpecial() {
	c.warnSpecialFields()
	c.warnSpecialSegments()
}

func (c *checker) warnSpecialFields() {
	for i := range c.sections.data {
		d := &c.sections.data[i]
		if d.considered {
			continue
		}
		if SpecialCategory(d.category) {
			c.warnf(d.at, "the category %s of %s is special (GDPR articles 9 and 10): write special: true, or special: false if it is none of it", d.category, d.path)
			continue
		}
		c.warnField(d.at, d.keys)
	}
	warned := make(map[string]bool)
	for _, u := range c.uses() {
		keys, problem := parsePath(strings.ReplaceAll(u.name, "[]", ""))
		if !u.field || problem != "" || warned[u.name] || c.declared(keys) {
			continue
		}
		warned[u.name] = true
		c.warnField(u.at, keys)
	}
}

// declared reports whether the data section says anything of the field itself,
// or whether a parent or child of it is special.
func (c *checker) declared(keys []string) bool {
	return slices.ContainsFunc(c.sections.data, func(d dataDecl) bool {
		return slices.Equal(d.keys, keys) || d.considered && overlaps(d.keys, keys)
	})
}

func (c *checker) warnField(at spot, keys []string) {
	for _, key := range keys[1:] {
		if word, kind := smellOf(key); kind != nil {
			c.warnf(at, "'%s' in %s suggests data on %s (GDPR article %d): declare the field under data with special: true and category: %s, or with special: false if it is none",
				word, pathText(keys[0], keys[1:]), kind.data, kind.article, kind.category)
			return
		}
	}
}

// warnSpecialSegments reports each segment's key or name, and the name of each
// event and list for all segments that read it.
func (c *checker) warnSpecialSegments() {
	events, lists := newSmellReaders(), newSmellReaders()
	for i := range c.sections.segments {
		d := &c.sections.segments[i]
		if d.considered {
			continue
		}
		suggested := c.warnSegment(d)
		for _, f := range c.usedBy(i) {
			events.note(f.facts.names, d.key, suggested)
			lists.note(f.facts.lists, d.key, suggested)
		}
	}
	c.warnReaders(events, "event's name")
	c.warnReaders(lists, "list's key")
}

// smellReaders are names that suggest special data, with the segments that read
// them and do not say what they infer.
type smellReaders struct {
	segments map[string][]string
	first    map[string]spot
}

func newSmellReaders() smellReaders {
	return smellReaders{make(map[string][]string), make(map[string]spot)}
}

// note adds what a segment reads, but for what its own name suggests already.
func (r smellReaders) note(uses []nameUse, segment string, suggested *smellKind) {
	for _, n := range uses {
		if _, kind := smellOf(n.name); kind == nil || kind == suggested || slices.Contains(r.segments[n.name], segment) {
			continue
		}
		r.segments[n.name] = append(r.segments[n.name], segment)
		if before, again := r.first[n.name]; !again || compareSpots(n.at, before) < 0 {
			r.first[n.name] = n.at
		}
	}
}

func (c *checker) warnReaders(r smellReaders, what string) {
	for name, segments := range r.segments {
		word, kind := smellOf(name)
		c.warnf(r.first[name], "'%s' in the %s suggests data on %s (GDPR article %d): write infers: [%s] in %s, which needs explicit_consent, or infers: [] if membership reveals none",
			word, what, kind.data, kind.article, kind.category, someSegments(segments))
	}
}

// warnSegment reports a segment's key, or else its name, and returns what it suggests.
func (c *checker) warnSegment(d *segmentDecl) *smellKind {
	what := "key"
	word, kind := smellOf(d.key)
	if kind == nil {
		what = "name"
		word, kind = smellOf(d.name)
	}
	if kind != nil {
		c.warnf(d.at, "'%s' in the segment's %s suggests data on %s (GDPR article %d): write infers: [%s], which needs explicit_consent, or infers: [] if membership reveals none",
			word, what, kind.data, kind.article, kind.category)
	}
	return kind
}

// maxSegmentsNamed bounds how many segments a message names.
const maxSegmentsNamed = 3

func someSegments(keys []string) string {
	slices.Sort(keys)
	if len(keys) == 1 {
		return "the segment '" + keys[0] + "'"
	}
	named := keys[:min(len(keys), maxSegmentsNamed)]
	text := "the segments '" + strings.Join(named, "', '") + "'"
	if more := len(keys) - len(named); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
