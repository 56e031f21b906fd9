package rules

import (
	"cmp"
	"slices"
	"strings"
)

// use is where rules first name an event or read a field.
type use struct {
	field bool
	name  string // of the event, or the field's path as Slot.Path writes it
	at    spot
}

// uses gathers what the sample is compared with.
func (c *checker) uses() []use {
	first := make(map[use]spot)
	note := func(u use) {
		at := u.at
		u.at = spot{}
		if before, ok := first[u]; !ok || compareSpots(at, before) < 0 {
			first[u] = at
		}
	}
	formulas := slices.Concat(c.rules, c.stays)
	for _, f := range c.lets {
		formulas = append(formulas, f)
	}
	for _, f := range formulas {
		if f == nil {
			continue
		}
		for _, n := range f.facts.names {
			note(use{name: n.name, at: n.at})
		}
		for _, r := range f.facts.reads {
			note(use{field: true, name: pathText(r.keys[0], r.keys[1:]), at: r.at})
		}
		for _, r := range f.elementReads() {
			note(use{field: true, name: r.path, at: r.at})
		}
	}
	for _, p := range c.purposes {
		if p.BirthdateTrait != "" {
			note(use{field: true, name: pathText("traits", []string{p.BirthdateTrait}), at: p.birthdateAt})
		}
	}
	uses := make([]use, 0, len(first))
	for u, at := range first {
		u.at = at
		uses = append(uses, u)
	}
	slices.SortFunc(uses, func(a, b use) int { return cmp.Or(compareSpots(a.at, b.at), strings.Compare(a.name, b.name)) })
	return uses
}

func compareSpots(a, b spot) int {
	return cmp.Or(strings.Compare(a.doc.name, b.doc.name), cmp.Compare(a.line, b.line), cmp.Compare(a.column, b.column))
}

// CompareSample compares what rules name with what a sample of records has:
// names counts events by name; fields counts records by the path of a field,
// as Slot.Path writes it and with "traits" for traits (every level of nesting
// may be counted, or the leaves alone). It returns a warning for each event
// name and field that rules use and the sample never has, at its first use.
func (s *Set) CompareSample(names, fields map[string]int) []Problem {
	var problems []Problem
	for _, u := range s.uses {
		have, what := names, "event"
		if u.field {
			have, what = fields, "field"
		}
		if have[u.name] > 0 || u.field && hasBelow(fields, u.name) || !u.field && hasMatch(names, u.name) {
			continue
		}
		nearest := hint(u.name, keysOf(have))
		if p := patternOf(u.name); !u.field && p.prefix {
			nearest = hint(p.text, keysOf(have))
		}
		message := "the sample has no " + what + " '" + u.name + "'" + nearest
		problems = append(problems, u.at.problem(Warning, message))
	}
	return SortProblems(problems)
}

// hasMatch reports whether some name is one that a pattern of events() means.
func hasMatch(names map[string]int, text string) bool {
	p := patternOf(text)
	for name, n := range names {
		if n > 0 && p.matches(name) {
			return true
		}
	}
	return false
}

// hasBelow reports whether some path lies below another.
func hasBelow(fields map[string]int, path string) bool {
	for name, n := range fields {
		if n > 0 && len(name) > len(path) && strings.HasPrefix(name, path) && (name[len(path)] == '.' || name[len(path)] == '[') {
			return true
		}
	}
	return false
}
