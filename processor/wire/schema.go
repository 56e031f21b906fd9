package wire

import (
	"embed"
	"strings"
)

//go:embed schema/*.json
var schemas embed.FS

var schemaNames = []string{"event", "decision", "request", "change", "change-segment", "member", "rejected", "request-result", "explanation", "access"}

// SchemaNames returns the names of all formats that have a JSON Schema, inputs first.
func SchemaNames() []string { return append([]string(nil), schemaNames...) }

// Schema returns the JSON Schema (draft 2020-12) of a format; ok is false if
// there is none of that name.
func Schema(name string) (schema []byte, ok bool) {
	if strings.ContainsAny(name, "./") {
		return nil, false
	}
	schema, err := schemas.ReadFile("schema/" + name + ".json")
	return schema, err == nil
}
