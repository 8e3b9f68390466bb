// Command every is a filter for tests: it makes every call of package host once, and
// leaves each answer in the shared data.
package main

import "envoke/filter/host"

func main() {}

func keep(name string, value []byte) { host.SetSharedData([]byte(name), value, 0) }

func told(name string, well bool) {
	if well {
		keep(name, []byte("yes"))
	} else {
		keep(name, []byte("no"))
	}
}

//go:wasmexport proxy_on_configure
func onConfigure(_, _ uint32) bool {
	host.Begin()
	keep("config", host.Config())
	return true
}

//go:wasmexport proxy_on_request_headers
func onRequestHeaders(_, _ uint32, _ bool) host.Action {
	host.Begin()
	keep("header", host.Request.Header("x-one"))
	keep("empty", host.Request.Header("x-empty"))
	told("none is nil", host.Request.Header("x-none") == nil)
	told("empty is not nil", host.Request.Header("x-empty") != nil)
	keep("pairs", host.Request.Headers())
	told("set", host.Request.SetHeader("x-one", []byte("3")))
	told("add", host.Request.AddHeader("x-one", []byte("4")))
	told("remove", host.Request.RemoveHeader("x-empty"))
	return host.Continue
}

//go:wasmexport proxy_on_request_body
func onRequestBody(_, size uint32, _ bool) host.Action {
	host.Begin()
	body := host.Request.Body(int(size))
	keep("begin", body[:4])
	keep("end", host.Request.BodyFrom(len(body)-4, 100))
	keep("beyond", host.Request.BodyFrom(len(body)+1, 100))
	keep("property", host.Property("source", "address"))
	told("set property", host.SetProperty("mine", []byte("5")))
	keep("time", host.Now().UTC().AppendFormat(nil, "15:04:05.000"))
	host.Log(host.Warn, "a line")
	host.NewCounter("hits").Add(2)
	host.NewCounter("hits").Add(1)
	_, version := host.SharedData([]byte("mine"))
	told("current version", host.SetSharedData([]byte("mine"), []byte("6"), version))
	told("old version", host.SetSharedData([]byte("mine"), []byte("7"), version))
	return host.Pause
}

//go:wasmexport proxy_on_response_headers
func onResponseHeaders(_, _ uint32, _ bool) host.Action {
	host.Begin()
	told("respond", host.Respond(418, "why", host.NewPairs("x-a", "1", "x-b", ""), []byte("tea")))
	host.Response.SetHeader("x-seen", host.Response.Header(":status"))
	return host.Pause
}
