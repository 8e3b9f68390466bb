// Command filter is what runs inside Envoy: a proxy-wasm plugin, compiled by `make
// filter` and delivered by control over xDS. It answers requests whose result it has
// kept, and refuses those that name a function in a way that no function is named,
// before ext_proc or control is asked.
//
// It has no duty: where it is absent or does not load, requests pass by it, ext_proc has
// the same results, and the same checks are made behind it. plugin.go has what Envoy
// calls.
package main

// main is not called in Envoy, but by the linker wanted.
func main() {}
