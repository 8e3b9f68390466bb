// Package module carries the filter, compiled to Wasm, in the binary of control.
package module

import "embed"

// built has the module that `make filter` puts there. It is not committed: a build
// without it works, and has no filter.
//
//go:embed all:built
var built embed.FS

// Code is the Wasm module; nil: this binary was built without it.
func Code() []byte {
	code, err := built.ReadFile("built/filter.wasm")
	if err != nil {
		return nil
	}
	return code
}
