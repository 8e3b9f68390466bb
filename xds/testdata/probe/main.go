// Command probe is a filter for tests: each answer that passes it says so, and it
// traps where a request asks for it.
package main

import (
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"
)

func main() {}

func init() { proxywasm.SetHttpContext(func(uint32) types.HttpContext { return new(request) }) }

type request struct{ types.DefaultHttpContext }

func (*request) OnHttpRequestHeaders(int, bool) types.Action {
	if do, _ := proxywasm.GetHttpRequestHeader("x-do"); do == "trap" {
		panic("as asked")
	}
	return types.ActionContinue
}

func (*request) OnHttpResponseHeaders(int, bool) types.Action {
	_ = proxywasm.AddHttpResponseHeader("x-probe", "passed")
	return types.ActionContinue
}
