package rules

import (
	"maps"
	"slices"
	"strings"
)

func keysOf[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// checkPurposes judges what segments read and keep by their purposes.
func (c *checker) checkPurposes() {
	keys := make([]string, len(c.purposes))
	for i, p := range c.purposes {
		keys[i] = p.Key
	}
	for i := range c.sections.segments {
		d := &c.sections.segments[i]
		p := c.purposeIndex(d.purpose)
		if p < 0 {
			if d.purpose != "" && !c.broken {
				c.errorf(d.purposeAt, "undeclared purpose '%s'%s", d.purpose, hint(d.purpose, keys))
			}
			continue
		}
		if len(d.infers) > 0 && c.purposes[p].Basis != ExplicitConsent {
			c.errorf(d.infersAt, "what the segment infers needs a purpose with the lawful basis explicit_consent; '%s' has %s", d.purpose, c.purposes[p].Basis)
		}
		for _, f := range c.usedBy(i) {
			c.checkRetention(f, &c.purposes[p], d.key)
			c.checkSpecial(f, &c.purposes[p], d.key)
		}
	}
}

// inSegment tells of a let which segment makes its problem one.
func inSegment(f *formula, segment string) string {
	if f.let == "" {
		return ""
	}
	return " (in segment '" + segment + "')"
}

func (c *checker) checkRetention(f *formula, p *purposeDecl, segment string) {
	for _, w := range f.facts.windows {
		if kept := p.Retention.Microseconds(); kept > 0 && w.micros > kept {
			c.fail(f, w.at, "the window '%s' is longer than the retention of purpose '%s', %s%s", w.text, p.Key, durationText(kept), inSegment(f, segment))
		}
	}
}

// checkSpecial wants explicit consent where a special field, or a parent or
// child of one, is read.
func (c *checker) checkSpecial(f *formula, p *purposeDecl, segment string) {
	if p.Basis == ExplicitConsent {
		return
	}
	for _, r := range f.facts.reads {
		for i := range c.sections.data {
			d := &c.sections.data[i]
			if !d.special || !overlaps(r.keys, d.keys) {
				continue
			}
			read := pathText(r.keys[0], r.keys[1:])
			holds := ""
			if read != d.path {
				holds = " and holds or belongs to " + d.path
			}
			c.fail(f, r.at, "the field %s is special%s: it needs a purpose with the lawful basis explicit_consent; '%s' has %s%s",
				read, holds, p.Key, p.Basis, inSegment(f, segment))
		}
	}
}

// checkReferences judges segment(): known, of the same purpose, and no cycle.
func (c *checker) checkReferences() {
	for i := range c.sections.segments {
		d := &c.sections.segments[i]
		for _, f := range c.usedBy(i) {
			for _, r := range f.facts.refs {
				c.checkReference(f, r, d)
			}
		}
	}
	c.checkCycles()
}

func (c *checker) checkReference(f *formula, r nameUse, d *segmentDecl) {
	other := c.segments[r.name]
	switch {
	case other == nil && !c.broken:
		c.fail(f, r.at, "unknown segment '%s'%s", r.name, hint(r.name, keysOf(c.segments)))
	case other != nil && other.purpose != d.purpose && other.purpose != "" && d.purpose != "":
		c.fail(f, r.at, "the segment '%s' has another purpose, '%s': what one purpose knows may not decide for '%s'%s", r.name, other.purpose, d.purpose, inSegment(f, d.key))
	}
}

// checkCycles reports each segment whose answer depends on itself, once a cycle.
func (c *checker) checkCycles() {
	index := make(map[string]int, len(c.rules))
	for i, d := range c.sections.segments {
		index[d.key] = i
	}
	done := make(map[string]bool)
	var path []string
	var visit func(key string)
	visit = func(key string) {
		path = append(path, key)
		for _, r := range c.allRefs(index[key]) {
			if at := slices.Index(path, r.name); at >= 0 {
				c.cycle(r, path[at:], index)
			} else if _, known := index[r.name]; known && !done[r.name] {
				visit(r.name)
			}
		}
		path = path[:len(path)-1]
		done[key] = true
	}
	for _, key := range slices.Sorted(maps.Keys(index)) {
		if !done[key] {
			visit(key)
		}
	}
}

func (c *checker) cycle(r nameUse, keys []string, index map[string]int) {
	for _, key := range keys {
		for _, f := range c.formulasOf(index[key]) {
			f.failed = true
		}
	}
	c.errorf(r.at, "the segments depend on each other: %s → %s", strings.Join(keys, " → "), keys[0])
}
