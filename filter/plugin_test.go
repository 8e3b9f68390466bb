package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"envoke/filter/host"
	"envoke/filter/hosttest"
	"envoke/internal/faas"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// callback is what Envoy calls for the headers of a request.
type callback func(stream, headers uint32, last bool) host.Action

// TestPlugin calls the plugin as Envoy does, as Go and as Wasm. A real Envoy runs it
// in the tests of cmd/envoke.
func TestPlugin(t *testing.T) {
	t.Run("Go", func(t *testing.T) { testPlugin(t, onRequestHeaders) })
	t.Run("Wasm", func(t *testing.T) {
		filter := hosttest.Load(t, wasm(t))
		testPlugin(t, func(stream, headers uint32, _ bool) host.Action {
			return host.Action(filter.Call("proxy_on_request_headers", uint64(stream), uint64(headers), 0))
		})
	})
}

func testPlugin(t *testing.T, call callback) {
	const requestID = `its "id"`
	_, refusal := faas.ParseRefIn(faas.InHeader, "nodejs-a..b")
	for _, tt := range []struct {
		name, title string
		action      host.Action
		want        *host.LocalResponse
	}{
		{"passes", "nodejs-hello", host.Continue, nil},
		{"refused", "nodejs-a..b", host.Pause, &host.LocalResponse{
			Status:  400,
			Details: "envoke",
			Headers: [][2]string{{"content-type", "application/json"}},
			Body:    string(faas.AsError(refusal).Body(faas.InEnvoy, requestID)),
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			envoy := new(host.Fake)
			envoy.Request.Headers = [][2]string{
				{":method", "POST"},
				{":path", "/api/v1/initialize"},
				{"language-title", tt.title},
				{"x-request-id", requestID},
			}
			host.Use(envoy)
			if action := call(1, 4, false); action != tt.action {
				t.Errorf("action %v, want %v", action, tt.action)
			}
			if diff := cmp.Diff(tt.want, envoy.Local); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
