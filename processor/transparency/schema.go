package transparency

import "embed"

//go:embed schema/*.json
var schemas embed.FS

// SchemaNames lists the documents that have a JSON Schema.
func SchemaNames() []string { return []string{"record", "notice", "receipt"} }

// Schema returns the JSON Schema (draft 2020-12) of a document; ok is false if
// there is none of that name. The caller owns the bytes.
func Schema(name string) (schema []byte, ok bool) {
	for _, known := range SchemaNames() {
		if known == name {
			schema, err := schemas.ReadFile("schema/" + name + ".json")
			return schema, err == nil
		}
	}
	return nil, false
}
