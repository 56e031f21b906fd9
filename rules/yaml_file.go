package rules

import (
	"fmt"
	"io/fs"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/segmentd/segmentd/rules/nearest"
)

// YAMLFile is a file of a rules directory that holds no rules, read as strictly
// as rule files are and with the same messages: what is wrong with it gathers as
// problems with their places.
type YAMLFile struct {
	loader    *loader
	name      string
	documents []YAMLValue
}

// YAMLValue is what is written at one place of a YAMLFile.
type YAMLValue struct {
	value yamlValue
	file  *YAMLFile
}

// YAMLObject is a map of known fields, each written at most once.
type YAMLObject struct {
	object object
	file   *YAMLFile
}

// Place is a place in a YAMLFile.
type Place struct {
	spot spot
	file *YAMLFile
}

// ReadYAML reads a file of fsys; problems name it with dir before its name.
func ReadYAML(fsys fs.FS, dir, name string) *YAMLFile {
	f := &YAMLFile{loader: newLoader(fsys, dir), name: name}
	f.loader.noRules = true
	f.loader.readYAML(name, func(v yamlValue) { f.documents = append(f.documents, YAMLValue{v, f}) })
	return f
}

// Documents returns the file's YAML documents.
func (f *YAMLFile) Documents() []YAMLValue { return f.documents }

// Name is the file's name as problems show it.
func (f *YAMLFile) Name() string { return f.loader.shown(f.name) }

// Problems returns what was found wrong so far, in the order of places.
func (f *YAMLFile) Problems() []Problem { return SortProblems(f.loader.problems) }

// Errorf adds a problem at the place.
func (p Place) Errorf(format string, args ...any) { p.file.loader.errorf(p.spot, format, args...) }

// Problem is a finding at the place that is not added to the file's.
func (p Place) Problem(message string) Problem { return p.spot.problem(Error, message) }

// String is file:line:column.
func (p Place) String() string {
	return fmt.Sprintf("%s:%d:%d", p.spot.doc.name, p.spot.line, p.spot.column)
}

// Line is the line of the place, from 1.
func (p Place) Line() int { return p.spot.line }

// Place is where the value begins.
func (v YAMLValue) Place() Place { return Place{v.value.spot(), v.file} }

// Errorf adds a problem at the value.
func (v YAMLValue) Errorf(format string, args ...any) { v.Place().Errorf(format, args...) }

// Node is the value as YAML has it, aliases resolved at its top.
func (v YAMLValue) Node() *yaml.Node { return v.value.node }

// IsNull reports whether nothing is written.
func (v YAMLValue) IsNull() bool { return v.value.isNull() }

// Kind names what is written, for messages: "a list", "text".
func (v YAMLValue) Kind() string { return v.value.kind() }

// Object reads a map whose fields are among known; what is its noun in messages.
func (v YAMLValue) Object(what string, known []string) (YAMLObject, bool) {
	o, ok := v.file.loader.object(v.value, what, known)
	return YAMLObject{o, v.file}, ok
}

// Pairs calls do for each field of a map whose keys are free.
func (v YAMLValue) Pairs(do func(key string, at Place, field YAMLValue)) {
	if v.value.node.Kind != yaml.MappingNode {
		v.Errorf("this must be a map, not %s", v.Kind())
		return
	}
	v.file.loader.pairs(v.value, func(key string, at spot, field yamlValue) {
		do(key, Place{at, v.file}, YAMLValue{field, v.file})
	})
}

// Items returns the elements of a list; what names the field in messages.
func (v YAMLValue) Items(what string) []YAMLValue {
	var all []YAMLValue
	for _, item := range v.file.loader.items(v.value, what) {
		all = append(all, YAMLValue{item, v.file})
	}
	return all
}

// Has reports whether a field is written and not empty.
func (o YAMLObject) Has(field string) bool { return o.object.has(field) }

// Written reports whether a field is written, be it empty.
func (o YAMLObject) Written(field string) bool { _, ok := o.object.fields[field]; return ok }

// Get returns a field that is written.
func (o YAMLObject) Get(field string) YAMLValue { return YAMLValue{o.object.fields[field], o.file} }

// At is the place of a field's value, or of the object where it is not written.
func (o YAMLObject) At(field string) Place { return Place{o.object.at(field), o.file} }

// Key is the place of a field's name, or of the object where it is not written.
func (o YAMLObject) Key(field string) Place {
	if at, ok := o.object.keys[field]; ok {
		return Place{at, o.file}
	}
	return Place{o.object.spot(), o.file}
}

// Text returns a field that is text, "" where it is not written.
func (o YAMLObject) Text(field string) string { return o.file.loader.text(o.object, field) }

// Required returns a text field that must be written.
func (o YAMLObject) Required(field string) string { return o.file.loader.required(o.object, field) }

// Hint is " (nearest: x)" with the candidate most like word, "" if none is alike.
func Hint(word string, candidates []string) string { return hint(word, candidates) }

// hint is what messages append.
func hint(word string, candidates []string) string {
	if n := nearest.To(word, candidates); n != "" {
		return " (nearest: " + n + ")"
	}
	return ""
}

// ParseDuration reads a duration of the rule language: `90s 15m 6h 30d 2w`, or
// several joined.
func ParseDuration(text string) (time.Duration, error) {
	micros, err := parseDuration(text)
	return time.Duration(micros) * time.Microsecond, err
}
