// Package transparency says in documents what a configuration does with data
// about people, so that what is published cannot differ from what runs: the
// record of processing activities (GDPR article 30(1)), the notice for data
// subjects (articles 13 and 14), what goes with a copy of somebody's data (article
// 15), and receipts of what one has decided. They are made of the rules, the
// configuration and the settings of topics. What a controller must add is named as
// a gap, never made up. No I/O, no clock: the same source gives the same bytes.
package transparency

import (
	"github.com/segmentd/segmentd/config"
	"github.com/segmentd/segmentd/rules"
)

// Source is what the documents are made of.
type Source struct {
	Rules  *rules.Set
	Config *config.Config
	Topics []Topic // that the group owns
}

// Topic is a topic that segmentd owns.
type Topic struct {
	Name   string
	Role   Role
	Output string // of the purposes whose changes or members it holds; "" is the common one
	Keeps  Keeping
}

// Role is what a topic is for.
type Role uint8

// The roles.
const (
	Changes Role = iota
	Members
	Changelog
	Rejected
	RequestResults
	RuleSets
)

// topicsOf returns the names of the topics with a role that hold a purpose's data.
func (s *Source) topicsOf(p *rules.Purpose, roles ...Role) (names []string) {
	for _, t := range s.Topics {
		for _, r := range roles {
			if t.Role == r && (r == Changelog || t.Output == p.Output) {
				names = append(names, t.Name)
			}
		}
	}
	return names
}

// special reports whether a purpose's rules read special data or infer it.
func special(set *rules.Set, purpose int) bool {
	if len(inferred(set, purpose)) > 0 {
		return true
	}
	for _, path := range set.ReadsFor(purpose).Fields {
		for _, d := range set.Declarations(path) {
			if d.Special {
				return true
			}
		}
	}
	return false
}

// inferred returns what memberships of a purpose reveal, sorted.
func inferred(set *rules.Set, purpose int) []string {
	all := map[string]bool{}
	for _, i := range set.Purposes[purpose].Segments {
		for _, category := range set.Segments[i].Infers {
			all[category] = true
		}
	}
	return sorted(all)
}

// categoriesOf returns the categories that the catalogue gives a field, sorted;
// none if it gives none.
func categoriesOf(set *rules.Set, purpose int, path string) []string {
	all := map[string]bool{}
	for _, d := range set.Declarations(path) {
		if d.Category != "" {
			all[d.Category] = true
		}
	}
	if len(all) == 0 && path == set.Purposes[purpose].BirthdatePath() {
		return []string{"user.demographic.date_of_birth"}
	}
	return sorted(all)
}
