// Command probe is a filter for tests: each answer that passes it says so, and it
// traps where a request asks for it.
package main

import "envoke/filter/host"

func main() {}

//go:wasmexport proxy_on_request_headers
func onRequestHeaders(_, _ uint32, _ bool) host.Action {
	host.Begin()
	if string(host.Request.Header("x-do")) == "trap" {
		panic("as asked")
	}
	return host.Continue
}

//go:wasmexport proxy_on_response_headers
func onResponseHeaders(_, _ uint32, _ bool) host.Action {
	host.Begin()
	host.Response.AddHeader("x-probe", []byte("passed"))
	return host.Continue
}
