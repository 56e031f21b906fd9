package ruletest

import (
	_ "embed" // for schema.json
	"slices"
)

//go:embed schema.json
var schemaJSON []byte

// SchemaJSON returns the JSON Schema (2020-12) of a test file, as editors use
// it. It judges the form alone; Load judges the rest. The caller owns the bytes.
func SchemaJSON() []byte { return slices.Clone(schemaJSON) }
