package rules

import (
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// object is a YAML map read strictly: known fields, each at most once.
type object struct {
	yamlValue
	what   string // for messages: "purpose"
	fields map[string]yamlValue
	keys   map[string]spot
}

// object reads a map whose fields are among known.
func (l *loader) object(v yamlValue, what string, known []string) (object, bool) {
	o := object{yamlValue: v, what: what, fields: make(map[string]yamlValue), keys: make(map[string]spot)}
	if v.node.Kind != yaml.MappingNode {
		l.errorf(v.spot(), "%s must be a map of fields, not %s", article(what), v.kind())
		return o, false
	}
	l.pairs(v, func(key string, at spot, field yamlValue) {
		switch {
		case !slices.Contains(known, key):
			l.errorf(at, "unknown field '%s' of %s%s", key, article(what), hint(key, known))
		default:
			o.fields[key], o.keys[key] = field, at
		}
	})
	return o, true
}

// article is a noun with its article; names of sections keep none.
func article(noun string) string {
	if strings.ContainsAny(noun[:1], "aeiou") {
		return "an " + noun
	}
	return "a " + noun
}

// pairs calls do for each field of a map and of the maps merged into it with
// <<, whose fields give way to its own. A key said twice is an error.
func (l *loader) pairs(v yamlValue, do func(key string, at spot, field yamlValue)) {
	seen := make(map[string]spot)
	var merged []yamlValue
	for i := 0; i+1 < len(v.node.Content); i += 2 {
		key := yamlValue{v.doc, v.node.Content[i]}.resolved()
		field := yamlValue{v.doc, v.node.Content[i+1]}.resolved()
		if key.node.Kind != yaml.ScalarNode {
			l.errorf(key.spot(), "a key must be one word, not %s", key.kind())
			continue
		}
		if key.node.Tag == "!!merge" {
			merged = append(merged, l.mergedMaps(field)...)
			continue
		}
		if before, again := seen[key.node.Value]; again {
			l.errorf(key.spot(), "'%s' is written twice: first in line %d", key.node.Value, before.line)
			continue
		}
		seen[key.node.Value] = key.spot()
		do(key.node.Value, key.spot(), field)
	}
	for _, m := range merged {
		for i := 0; i+1 < len(m.node.Content); i += 2 {
			key := yamlValue{m.doc, m.node.Content[i]}.resolved()
			if _, own := seen[key.node.Value]; own || key.node.Kind != yaml.ScalarNode || key.node.Tag == "!!merge" {
				continue
			}
			seen[key.node.Value] = key.spot()
			do(key.node.Value, key.spot(), yamlValue{m.doc, m.node.Content[i+1]}.resolved())
		}
	}
}

// mergedMaps returns what << merges: a map or a list of maps.
func (l *loader) mergedMaps(v yamlValue) []yamlValue {
	if v.node.Kind == yaml.MappingNode {
		return []yamlValue{v}
	}
	var maps []yamlValue
	if v.node.Kind == yaml.SequenceNode {
		for _, n := range v.node.Content {
			if m := (yamlValue{v.doc, n}).resolved(); m.node.Kind == yaml.MappingNode {
				maps = append(maps, m)
			}
		}
	}
	if maps == nil {
		l.errorf(v.spot(), "<< merges maps, not %s", v.kind())
	}
	return maps
}

// items returns the elements of a list.
func (l *loader) items(v yamlValue, what string) []yamlValue {
	if v.isNull() {
		return nil
	}
	if v.node.Kind != yaml.SequenceNode {
		l.errorf(v.spot(), "'%s' must be a list, each entry begun with '- ', not %s", what, v.kind())
		return nil
	}
	items := make([]yamlValue, len(v.node.Content))
	for i, n := range v.node.Content {
		items[i] = yamlValue{v.doc, n}.resolved()
	}
	return items
}

// has reports whether a field is written and not empty.
func (o object) has(field string) bool {
	v, ok := o.fields[field]
	return ok && !v.isNull()
}

// at is the place of a field's value, or of the object where it is not written.
func (o object) at(field string) spot {
	if v, ok := o.fields[field]; ok {
		return v.spot()
	}
	return o.spot()
}

// text returns a field that is text, "" where it is not written.
func (l *loader) text(o object, field string) string {
	if !o.has(field) {
		return ""
	}
	v := o.fields[field]
	if v.node.Kind != yaml.ScalarNode || strings.HasPrefix(v.node.Tag, "!") && !strings.HasPrefix(v.node.Tag, "!!") {
		l.errorf(v.spot(), "'%s' must be text, not %s", field, v.kind())
		return ""
	}
	return strings.TrimSpace(v.node.Value)
}

// required returns a text field that must be written.
func (l *loader) required(o object, field string) string {
	if !o.has(field) {
		l.errorf(o.spot(), "the %s has no '%s'", o.what, field)
		return ""
	}
	text := l.text(o, field)
	if text == "" && o.fields[field].node.Kind == yaml.ScalarNode {
		l.errorf(o.at(field), "'%s' is empty", field)
	}
	return text
}

// flag returns a field that is true or false.
func (l *loader) flag(o object, field string) bool {
	if !o.has(field) {
		return false
	}
	v := o.fields[field]
	if v.node.Tag != "!!bool" {
		l.errorf(v.spot(), "'%s' must be true or false", field)
	}
	return v.node.Tag == "!!bool" && strings.EqualFold(v.node.Value, "true")
}
