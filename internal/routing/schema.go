package routing

import (
	_ "embed" // the schema
	"slices"
)

//go:generate go test -run TestSchema -update .

//go:embed schema.json
var schema []byte

// Schema is the JSON Schema (draft 2020-12) of a document, for editors. What it lets pass may
// have faults all the same: Check knows more.
func Schema() []byte { return slices.Clone(schema) }
