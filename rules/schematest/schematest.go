// Package schematest validates by JSON Schemas, as an editor does, in tests.
package schematest

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"
)

// Compile compiles a schema, whose formats are asserted too.
func Compile(t testing.TB, schema []byte) *jsonschema.Schema {
	t.Helper()
	const name = "urn:segmentd:schema"
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource(name, JSON(t, schema)); err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Compile(name)
	if err != nil {
		t.Fatal(err)
	}
	return compiled
}

// JSON reads a text as a schema validates it.
func JSON(t testing.TB, text []byte) any {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return doc
}

// YAML reads a text as JSON does: what YAML takes for timestamps is text.
func YAML(t testing.TB, text string) any {
	t.Helper()
	var node yaml.Node
	if err := yaml.Unmarshal([]byte(text), &node); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	untime(&node)
	var v any
	if err := node.Decode(&v); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return JSON(t, b)
}

func untime(n *yaml.Node) {
	if n.Tag == "!!timestamp" {
		n.Tag = "!!str"
	}
	for _, c := range n.Content {
		untime(c)
	}
}
