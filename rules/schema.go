package rules

import (
	_ "embed" // for schema.json
	"slices"
)

//go:embed schema.json
var schemaJSON []byte

// SchemaJSON returns the JSON Schema (2020-12) of a rule file, as editors use
// it. It judges the form alone; Load judges the rules. The caller owns the bytes.
func SchemaJSON() []byte { return slices.Clone(schemaJSON) }
