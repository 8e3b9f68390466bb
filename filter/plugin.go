package main

import (
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"

	"envoke/internal/faas"
)

// request is one HTTP request on a route that has the filter.
type request struct {
	types.DefaultHttpContext
}

// OnHttpRequestHeaders refuses a malformed name and lets all else pass.
func (*request) OnHttpRequestHeaders(int, bool) types.Action { //nolint:revive // the SDK's name
	if err := check(header(":method"), header(":path"), header("language-title")); err != nil {
		return refuse(faas.AsError(err))
	}
	return types.ActionContinue
}

// refuse answers the request here. Envoy adds the request's id to the headers.
func refuse(e *faas.Error) types.Action {
	contentType := [][2]string{{"content-type", "application/json"}}
	body := e.Body(faas.InEnvoy, header("x-request-id"))
	if err := proxywasm.SendHttpResponse(uint32(e.HTTPStatus()), contentType, body, -1); err != nil {
		proxywasm.LogErrorf("answer a refused request: %v", err)
		return types.ActionContinue // it is refused behind us
	}
	return types.ActionPause
}

// header is empty where there is none, and the first where there are several: those
// are refused behind us.
func header(name string) string {
	value, err := proxywasm.GetHttpRequestHeader(name)
	if err != nil {
		return ""
	}
	return value
}
