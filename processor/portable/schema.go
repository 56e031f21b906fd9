package portable

import _ "embed"

//go:embed schema/portability.json
var schema []byte

// SchemaName is what the document's JSON Schema is asked for by.
const SchemaName = "portability"

// Schema returns the JSON Schema (draft 2020-12) of the document. The caller owns the bytes.
func Schema() []byte { return append([]byte(nil), schema...) }
