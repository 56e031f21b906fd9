package rules

import (
	"slices"
	"strings"
)

// Reads is what rules read of a subject, each list sorted: also what an answer
// turned out not to depend on, since all of it is decoded.
type Reads struct {
	Events   []string // names as events() takes them: one that ends in * stands for all with that beginning
	Fields   []string // paths as Slot.Path writes them; of traits they begin with "traits"
	Segments []string // keys of the segments whose answers are read
	Lists    []string // keys of lists
}

// allReads is what a rule under compilation reads.
func (r *ruleDraft) allReads() Reads {
	events := make(map[string]bool, len(r.names))
	for name := range r.names {
		events[name.argument()] = true
	}
	return Reads{keysOf(events), keysOf(r.fields), keysOf(r.refs), keysOf(r.lists)}
}

// ReadsFor is what all rules of a purpose read together, and its birthdate trait.
func (s *Set) ReadsFor(purpose int) Reads {
	events, fields, segments, lists := map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}
	note := func(into map[string]bool, names ...string) {
		for _, name := range names {
			into[name] = true
		}
	}
	p := &s.Purposes[purpose]
	for _, i := range p.Segments {
		r := &s.Segments[i].Reads
		note(events, r.Events...)
		note(fields, r.Fields...)
		note(segments, r.Segments...)
		note(lists, r.Lists...)
	}
	if path := p.BirthdatePath(); path != "" && len(p.Segments) > 0 {
		note(fields, path)
	}
	return Reads{keysOf(events), keysOf(fields), keysOf(segments), keysOf(lists)}
}

// BirthdatePath is the path of the trait that holds the birthdate, as Slot.Path
// writes it; "" where no minimum age is set.
func (p *Purpose) BirthdatePath() string {
	if p.MinAge == 0 {
		return ""
	}
	return pathText("traits", []string{p.BirthdateTrait})
}

// Declaration is what the catalogue of fields says of one.
type Declaration struct {
	Path     string // as Slot.Path writes it
	Category string // fideslang's key; "": not said
	Special  bool
}

// Declarations is what the catalogue says of a field: of the nearest that it is
// or belongs to, and of all that belong to it. In the order of paths.
func (s *Set) Declarations(path string) (all []Declaration) {
	keys, problem := parsePath(path)
	if problem != "" {
		return nil
	}
	above, depth := -1, 0
	for i := range s.catalogue {
		d := &s.catalogue[i]
		declared, _ := parsePath(d.path)
		switch {
		case !overlaps(keys, declared):
		case len(declared) > len(keys):
			all = append(all, Declaration{d.path, d.category, d.special})
		case len(declared) > depth:
			above, depth = i, len(declared)
		}
	}
	if above >= 0 {
		d := &s.catalogue[above]
		all = append(all, Declaration{d.path, d.category, d.special})
	}
	slices.SortFunc(all, func(a, b Declaration) int { return strings.Compare(a.Path, b.Path) })
	return all
}

// ListSizes returns how many ids each list has, by key.
func (s *Set) ListSizes() map[string]int {
	sizes := make(map[string]int, len(s.lists))
	for key, l := range s.lists {
		sizes[key] = len(l.members)
	}
	return sizes
}
