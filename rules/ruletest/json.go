package ruletest

import (
	"encoding/json"
	"math"
	"regexp"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/segmentd/segmentd/rules"
)

// The bounds of what is turned into JSON: aliases may repeat and contain themselves.
const (
	maxDepth = 64
	maxNodes = 100_000 // in one file
)

func scalar(v rules.YAMLValue) bool { return v.Node().Kind == yaml.ScalarNode }

// object reads a field that must be a map; nil if it is none, or nothing.
func (r *reader) object(o rules.YAMLObject, field string) map[string]any {
	if !o.Has(field) {
		return map[string]any{}
	}
	v := o.Get(field)
	if v.Node().Kind != yaml.MappingNode {
		v.Errorf("'%s' must be a map, not %s", field, v.Kind())
		return nil
	}
	m, _ := r.json(v, 0).(map[string]any)
	return m
}

// json turns YAML into what encoding/json writes. Numbers keep their digits,
// timestamps are text.
func (r *reader) json(v rules.YAMLValue, depth int) any {
	if r.nodes++; depth > maxDepth || r.nodes > maxNodes {
		if depth == maxDepth+1 || r.nodes == maxNodes+1 {
			v.Errorf("this is nested too deeply, or more than a test may hold")
		}
		return nil
	}
	switch v.Node().Kind {
	case yaml.MappingNode:
		m := map[string]any{}
		v.Pairs(func(key string, _ rules.Place, field rules.YAMLValue) { m[key] = r.json(field, depth+1) })
		return m
	case yaml.SequenceNode:
		list := []any{}
		for _, item := range v.Items("") {
			list = append(list, r.json(item, depth+1))
		}
		return list
	}
	return r.scalar(v)
}

var jsonNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)

func (r *reader) scalar(v rules.YAMLValue) any {
	n := v.Node()
	switch n.Tag {
	case "!!null":
		return nil
	case "!!bool":
		return strings.EqualFold(n.Value, "true")
	case "!!int", "!!float":
		if jsonNumber.MatchString(n.Value) {
			return json.Number(n.Value)
		}
		var f float64
		if err := n.Decode(&f); err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
			v.Errorf("'%s' is no number that a record can hold", n.Value)
			return nil
		}
		return f
	case "!!str", "!!timestamp":
		return n.Value
	}
	v.Errorf("'%s' is nothing that a record can hold: put it in quotes", n.Tag)
	return nil
}
