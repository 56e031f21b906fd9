package main

import (
	"encoding/json"

	"github.com/segmentd/segmentd/processor/wire/mapping"
	"github.com/segmentd/segmentd/rules"
)

// samplePaths are the paths of one input's map, and whether any record of a
// sample has them.
type samplePaths struct {
	topic   string
	paths   []mapping.Path
	found   []bool // of paths
	records int
}

func newSamplePaths(topic string, m *mapping.Mapping) *samplePaths {
	p := &samplePaths{topic: topic, paths: m.Paths()}
	p.found = make([]bool, len(p.paths))
	return p
}

// add looks for the paths in a record's value.
func (p *samplePaths) add(value []byte) {
	if len(value) == 0 || !json.Valid(value) {
		return
	}
	p.records++
	for i, path := range p.paths {
		p.found[i] = p.found[i] || path.LeadsTo(value)
	}
}

// missing warns of each path that no record has.
func (p *samplePaths) missing() (all []rules.Problem) {
	for i, path := range p.paths {
		if p.records > 0 && !p.found[i] {
			all = append(all, rules.Problem{File: "the map of " + p.topic, Severity: rules.Warning,
				Message: "no record of the sample has " + path.String() + " (map." + path.Key + ")"})
		}
	}
	return all
}
