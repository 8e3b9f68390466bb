// Package openapi holds the document of the public API.
package openapi

import (
	_ "embed"
	"fmt"
	"sync"

	"sigs.k8s.io/yaml"
)

//go:embed openapi.yaml
var source []byte

// Document is the OpenAPI 3.1 document in JSON. The caller must not change it.
var Document = sync.OnceValue(func() []byte {
	document, err := yaml.YAMLToJSON(source)
	if err != nil {
		panic(fmt.Sprintf("openapi: %v", err)) // it is embedded, and tested
	}
	return document
})
