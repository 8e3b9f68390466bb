package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/proxytest"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"
	"go.uber.org/goleak"

	"envoke/internal/faas"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestPlugin calls the plugin as Envoy does. A real Envoy runs it, as Wasm, in the
// tests of package xds.
func TestPlugin(t *testing.T) {
	host, reset := proxytest.NewHostEmulator(proxytest.NewEmulatorOption().WithHttpContext(newRequest))
	defer reset()
	if host.StartVM() != types.OnVMStartStatusOK || host.StartPlugin() != types.OnPluginStartStatusOK {
		t.Fatal("the plugin does not start")
	}
	const requestID = `its "id"`
	_, refusal := faas.ParseRefIn(faas.InHeader, "nodejs-a..b")
	for _, tt := range []struct {
		name, title string
		action      types.Action
		want        *proxytest.LocalHttpResponse
	}{
		{"passes", "nodejs-hello", types.ActionContinue, nil},
		{"refused", "nodejs-a..b", types.ActionPause, &proxytest.LocalHttpResponse{
			StatusCode: 400,
			Headers:    [][2]string{{"content-type", "application/json"}},
			Data:       faas.AsError(refusal).Body(faas.InEnvoy, requestID),
			GRPCStatus: -1,
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			id := host.InitializeHttpContext()
			defer host.CompleteHttpContext(id)
			action := host.CallOnRequestHeaders(id, [][2]string{
				{":method", "POST"},
				{":path", "/api/v1/initialize"},
				{"language-title", tt.title},
				{"x-request-id", requestID},
			}, false)
			if action != tt.action {
				t.Errorf("action %v, want %v", action, tt.action)
			}
			if diff := cmp.Diff(tt.want, host.GetSentLocalResponse(id)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
