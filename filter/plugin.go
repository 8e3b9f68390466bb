package main

import (
	"envoke/filter/host"
	"envoke/internal/faas"
)

// onRequestHeaders refuses a malformed name and lets all else pass.
//
//go:wasmexport proxy_on_request_headers
func onRequestHeaders(_, _ uint32, _ bool) host.Action {
	host.Begin()
	if err := check(header(":method"), header(":path"), header("language-title")); err != nil {
		return refuse(faas.AsError(err))
	}
	return host.Continue
}

// refuse answers the request here. Envoy adds the request's id to the headers.
func refuse(e *faas.Error) host.Action {
	contentType := host.NewPairs("content-type", "application/json")
	if !host.Respond(e.HTTPStatus(), contentType, e.Body(faas.InEnvoy, header("x-request-id"))) {
		host.Log(host.Error, "a refused request was not answered, so it is refused behind us")
		return host.Continue
	}
	return host.Pause
}

func header(name string) string { return string(host.Request.Header(name)) }
