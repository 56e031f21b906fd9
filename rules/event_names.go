package rules

import (
	"maps"
	"slices"
)

// EventNames lists the names of events that some rule reads, sorted.
func (s *Set) EventNames() []string { return slices.Sorted(maps.Keys(s.index.events)) }
