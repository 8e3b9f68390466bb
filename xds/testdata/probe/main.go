// Command probe is a filter for tests: each answer that passes it says so, and it
// traps where a request asks for it.
package main

import "envoke/filter/host"

func main() {}

// What a request asked for with x-do.
var (
	later bool // a trap at the response
	hoard [][]byte
)

//go:wasmexport proxy_on_request_headers
func onRequestHeaders(_, _ uint32, _ bool) host.Action {
	host.Begin()
	switch string(host.Request.Header("x-do")) {
	case "trap":
		panic("as asked")
	case "trap later":
		later = true
	case "trap by stack":
		recurse(1)
	case "trap by memory":
		for {
			hoard = append(hoard, make([]byte, 1<<20))
		}
	}
	return host.Continue
}

func recurse(n int) int { return recurse(n+1) + n }

//go:wasmexport proxy_on_response_headers
func onResponseHeaders(_, _ uint32, _ bool) host.Action {
	host.Begin()
	if later {
		panic("as asked")
	}
	host.Response.AddHeader("x-probe", []byte("passed"))
	return host.Continue
}
