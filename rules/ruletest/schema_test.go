package ruletest

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/rules/schematest"
)

// corpusCase is a block of the corpus: its input and what it prints.
var corpusCase = regexp.MustCompile(`(?ms)^tests[ a-z]*\n(.*?)^----\n(.*?)(?:\n\n|\z)`)

// TestSchemaAcceptsTheCorpus holds the schema to every test of testdata that reads well.
func TestSchemaAcceptsTheCorpus(t *testing.T) {
	schema := schematest.Compile(t, SchemaJSON())
	paths, err := filepath.Glob("testdata/*")
	if err != nil {
		t.Fatal(err)
	}
	accepted := 0
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range corpusCase.FindAllStringSubmatch(string(text), -1) {
			if strings.HasPrefix(m[2], "rules_test.yaml") {
				continue
			}
			accepted++
			if err := schema.Validate(schematest.YAML(t, m[1])); err != nil {
				t.Errorf("%s: %v\n%s", path, err, m[1])
			}
		}
	}
	if accepted < 10 {
		t.Errorf("only %d tests of the corpus were found", accepted)
	}
}

func TestSchemaRefusesWhatLoadRefuses(t *testing.T) {
	schema := schematest.Compile(t, SchemaJSON())
	set, problems := rules.Load(fstest.MapFS{"rules.yaml": {Data: []byte(`purposes:
  - {key: marketing, description: Offers, lawful_basis: consent, retention: 400d}
segments:
  - {key: buyers, purpose: marketing, when: 'events("Order").exists()'}
`)}})
	if set == nil {
		t.Fatal(problems)
	}
	for _, text := range []string{
		"test: []",
		"tests: [{steps: []}]",
		"tests: [{name: a}]",
		"tests: [{name: a, start: noon, steps: []}]",
		"tests: [{name: a, steps: [{}]}]",
		"tests: [{name: a, steps: [{advance: soon}]}]",
		"tests: [{name: a, userId: u, steps: [{track: x, traits: {}}]}]",
		"tests: [{name: a, userId: u, steps: [{track: x, advance: 3d}]}]",
		"tests: [{name: a, userId: u, steps: [{track: x, at: 3d}]}]",
		"tests: [{name: a, userId: u, steps: [{track: x, category: c}]}]",
		"tests: [{name: a, userId: u, steps: [{identify: {}, properties: {}}]}]",
		"tests: [{name: a, userId: u, steps: [{advance: 3d, at: 2026-01-01}]}]",
		"tests: [{name: a, userId: u, steps: [{decision: {purpose: marketing, status: given, explicit: 'yes'}}]}]",
		"tests: [{name: a, userId: u, steps: [{request: {request: forget}}]}]",
		"tests: [{name: a, userId: u, steps: [{decision: {purpose: marketing, status: yes}}]}]",
		"tests: [{name: a, userId: u, steps: [{decision: {status: given}}]}]",
		"tests: [{name: a, steps: [{expect: {}}]}]",
		"tests: [{name: a, steps: [{expect: {members: {buyers: ada}}}]}]",
		"tests: [{name: a, steps: [{expect: {outcome: fine}}]}]",
		"tests: [{name: a, steps: [{expect: {changes: [{segment: buyers, change: left}]}}]}]",
		"tests: [{name: a, steps: [{expect: {changes: [{segment: buyers, change: exited, reason: mood}]}}]}]",
		"tests: [{name: a, userId: u, steps: [{expect: {explain: [{segment: buyers, next: {change: exited}}]}}]}]",
	} {
		if schema.Validate(schematest.YAML(t, text)) == nil {
			t.Errorf("the schema accepts %s", text)
		}
		if _, problems := Load(fstest.MapFS{"a_test.yaml": {Data: []byte(text)}}, set); problems == nil {
			t.Errorf("Load accepts %s", text)
		}
	}
}

// TestSchemaHasTheFields holds the schema to the fields that Load knows.
func TestSchemaHasTheFields(t *testing.T) {
	type object struct {
		Properties map[string]json.RawMessage
		Items      json.RawMessage
		Enum       []string
	}
	var doc struct {
		Defs map[string]object `json:"$defs"`
	}
	if err := json.Unmarshal(SchemaJSON(), &doc); err != nil {
		t.Fatal(err)
	}
	below := func(o object, path ...string) object {
		for _, key := range path {
			var next object
			raw := o.Items
			if key != "items" {
				raw = o.Properties[key]
			}
			if err := json.Unmarshal(raw, &next); err != nil {
				t.Fatalf("%v: %v", path, err)
			}
			o = next
		}
		return o
	}
	same := func(what string, got, want []string) {
		if slices.Sort(got); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
			t.Errorf("%s: the schema has %v, Load %v", what, got, want)
		}
	}
	fields := func(o object) (names []string) {
		for name := range o.Properties {
			names = append(names, name)
		}
		return names
	}
	steps := map[string]bool{}
	for _, v := range verbs {
		for _, name := range append([]string{v.name}, v.beside...) {
			steps[name] = true
		}
	}
	same("step", fields(doc.Defs["step"]), slices.Collect(maps.Keys(steps)))
	expectation := doc.Defs["expectation"]
	change := below(expectation, "changes", "items")
	same("test", fields(doc.Defs["test"]), testFields)
	same("decision", fields(doc.Defs["decision"]), decisionFields)
	same("request", fields(doc.Defs["request"]), requestFields)
	same("expectation", fields(expectation), expectFields)
	same("change", fields(change), changeFields)
	same("explain", fields(below(expectation, "explain", "items")), explainFields)
	same("next", fields(below(expectation, "explain", "items", "next")), nextFields)
	same("reasons", below(change, "reason").Enum, reasons())
	same("outcomes", below(expectation, "outcome").Enum, outcomes())
}
