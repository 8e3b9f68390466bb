// Command filter is what runs inside Envoy: a proxy-wasm plugin, compiled by `make
// filter` and delivered by control over xDS. It refuses requests that name a
// function in a way that no function is named, before ext_proc or control is asked.
//
// It has no duty: where it is absent or does not load, requests pass by it and the
// same checks are made behind it. plugin.go alone speaks with Envoy.
package main

import (
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"
)

// main is not called in Envoy, but by the linker wanted.
func main() {}

func init() { //nolint:gochecknoinits // Envoy calls nothing else before it creates the plugin
	proxywasm.SetHttpContext(newRequest)
}

func newRequest(uint32) types.HttpContext { return new(request) }
