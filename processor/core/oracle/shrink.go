package oracle

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// Shrink makes a case smaller for as long as it still fails: it drops records,
// fields of records, segments and other parts of the rules, and puts parts of
// conditions in the place of the whole. Nothing that remains can be dropped
// alone. fails must be false of a case whose rules are not valid.
func Shrink(c Case, fails func(Case) bool) Case {
	s := &shrinker{Case: c, fails: fails}
	for progress := true; progress; {
		progress = s.dropRecords()
		progress = s.dropRules() || progress
		progress = s.simplifyRules() || progress
		progress = s.simplifyRecords() || progress
		progress = s.endAtOnce() || progress
	}
	return s.Case
}

type shrinker struct {
	Case
	fails func(Case) bool
}

// try takes a smaller case if it fails too.
func (s *shrinker) try(c Case) bool {
	if !s.fails(c) {
		return false
	}
	s.Case = c
	return true
}

func (s *shrinker) tryText(text string) bool {
	c := s.Case
	c.Text, c.Rules = text, directoryOf(text)
	return s.try(c)
}

func (s *shrinker) tryInput(i int, text string) bool {
	c := s.Case
	c.Inputs = slices.Clone(c.Inputs)
	if c.Inputs[i] = text; text == "" && len(c.Inputs) > 1 {
		c.Inputs = slices.Delete(c.Inputs, i, i+1)
	}
	return s.try(c)
}

func (s *shrinker) endAtOnce() bool {
	c := s.Case
	c.Until = 0
	return s.Until != 0 && s.try(c)
}

// without tries a list without each stretch of it, halves first, and reports
// whether one could go.
func without(list []string, try func([]string) bool) (any bool) {
	for size := (len(list) + 1) / 2; size > 0; size /= 2 {
		for from := 0; from < len(list); {
			shorter := slices.Concat(list[:from], list[min(from+size, len(list)):])
			if !try(shorter) {
				from += size
				continue
			}
			list, any = shorter, true
		}
	}
	return any
}

func (s *shrinker) dropRecords() (any bool) {
	for i := len(s.Inputs) - 1; i >= 0; i-- {
		lines := slices.Collect(strings.Lines(s.Inputs[i]))
		any = without(lines, func(l []string) bool { return s.tryInput(i, strings.Join(l, "")) }) || any
	}
	return any
}

// dropRules drops whole entries, then one line or two.
func (s *shrinker) dropRules() bool {
	try := func(l []string) bool { return s.tryText(strings.Join(l, "")) }
	any := without(entries(s.Text), try)
	for _, size := range []int{2, 1} {
		lines := slices.Collect(strings.Lines(s.Text))
		for i := len(lines) - size; i >= 0; i-- {
			if shorter := slices.Concat(lines[:i], lines[i+size:]); try(shorter) {
				lines, any = shorter, true
				i = min(i, len(lines)-size+1)
			}
		}
	}
	return any
}

// entries cuts rules into the entries of their sections.
func entries(text string) (all []string) {
	for line := range strings.Lines(text) {
		if len(all) > 0 && strings.HasPrefix(line, "    ") {
			all[len(all)-1] += line
			continue
		}
		all = append(all, line)
	}
	return all
}

// simplifyRules puts shorter expressions in the place of those of each line.
func (s *shrinker) simplifyRules() (any bool) {
	lines := slices.Collect(strings.Lines(s.Text))
	for i := 0; i < len(lines); {
		try := func(simpler string) bool {
			return s.tryText(strings.Join(slices.Concat(lines[:i], []string{simpler}, lines[i+1:]), ""))
		}
		k := slices.IndexFunc(simplerLines(lines[i]), try)
		if k < 0 {
			i++
			continue
		}
		lines, any = slices.Collect(strings.Lines(s.Text)), true
	}
	return any
}

// simplifyRecords drops fields of records.
func (s *shrinker) simplifyRecords() (any bool) {
	for i := range s.Inputs {
		lines := slices.Collect(strings.Lines(s.Inputs[i]))
		for k := range lines {
			for slices.ContainsFunc(simplerRecords(lines[k]), func(simpler string) bool {
				old := lines[k]
				lines[k] = simpler
				if !s.tryInput(i, strings.Join(lines, "")) {
					lines[k] = old
					return false
				}
				return true
			}) {
				any = true
			}
		}
	}
	return any
}

// simplerRecords are a record without each of its fields.
func simplerRecords(line string) (all []string) {
	d := json.NewDecoder(strings.NewReader(line))
	d.UseNumber()
	var r map[string]any
	if d.Decode(&r) != nil {
		return nil
	}
	for _, field := range []string{"messageId", "explicit", "expiresAt", "context", "properties"} {
		all = append(all, withoutField(r, field)...)
	}
	for _, part := range []string{"properties", "context", "traits"} {
		inner, _ := r[part].(map[string]any)
		for _, key := range slices.Sorted(maps.Keys(inner)) {
			smaller := maps.Clone(r)
			m := maps.Clone(inner)
			delete(m, key)
			smaller[part] = m
			all = append(all, ndjson([]map[string]any{smaller}))
		}
	}
	return all
}

func withoutField(r map[string]any, field string) []string {
	if _, ok := r[field]; !ok {
		return nil
	}
	smaller := maps.Clone(r)
	delete(smaller, field)
	return []string{ndjson([]map[string]any{smaller})}
}
