package api_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"envoke/internal/api"
	"envoke/internal/faas"
)

// newHost is a runtime host that answers checks by the handler, for JavaScript.
func newHost(t *testing.T, handle http.HandlerFunc) api.Hosts {
	t.Helper()
	server := httptest.NewServer(handle)
	t.Cleanup(server.Close)
	transport := &http.Transport{DisableKeepAlives: true, Dial: func(string, string) (net.Conn, error) {
		return net.Dial("tcp", server.Listener.Addr().String())
	}}
	return api.Hosts{faas.NodeJS: {Transport: transport}}
}

const goodFunction = `{"language": "nodejs", "title": "f", "network": "egress", "script_content": "return '<é>'", "compile_options": {"features": []}}`

func TestCheckAsksTheHost(t *testing.T) {
	r := newRig(t)
	var asked []string
	r.options.Check = newHost(t, func(w http.ResponseWriter, in *http.Request) {
		body, _ := io.ReadAll(in.Body)
		asked = append(asked, in.Method+" "+in.URL.Path+" "+in.Header.Get("X-Request-ID")+" "+in.Header.Get("Language-Title")+" "+in.Header.Get("X-Envoke-Network"))
		var got, want any
		_ = json.Unmarshal([]byte(`{"script_content": "return '<é>'", "compile_options": {"features": []}}`), &want)
		if err := json.Unmarshal(body, &got); err != nil || !cmp.Equal(want, got) {
			t.Errorf("the host was sent %s (%v)", body, err)
		}
		_, _ = w.Write([]byte("{}"))
	}).Check
	if status, body, _ := r.send("POST", functions, goodFunction); status != 201 {
		t.Errorf("%d %v", status, body)
	}
	if diff := cmp.Diff([]string{"POST /check rid nodejs-f egress"}, asked); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A host that is still at it when Envoy would give up is no host that is away.
func TestCheckThatTakesTooLong(t *testing.T) {
	r := newRig(t)
	asked := make(chan struct{})
	hosts := newHost(t, func(_ http.ResponseWriter, in *http.Request) {
		_, _ = io.ReadAll(in.Body) // else the server does not look whether the peer has gone
		close(asked)
		<-in.Context().Done()
	})
	hosts[faas.NodeJS].Timeout = 100 * time.Millisecond
	r.options.Check = hosts.Check
	status, body, _ := r.send("POST", functions, goodFunction)
	<-asked
	if text := fmt.Sprint(body); status != 504 || !strings.Contains(text, "still being built after 65000 ms; that goes on") || !strings.Contains(text, "component:runtime") {
		t.Errorf("%d %v", status, body)
	}
}

// TestCheckPassesTheVerdictOn: what the host says reaches the caller as it is, and
// nothing is stored.
func TestCheckPassesTheVerdictOn(t *testing.T) {
	const broken = `{"error": {"code": "INITIALIZATION_ERROR", "message": "Unexpected token", "details": {"component": "function",
		"line": 3, "column": 7, "stack_trace": "at <f>"}}, "request_id": "rid"}`
	const busy = `{"error": {"code": "RATE_LIMITED", "message": "no worker", "details": {"component": "runtime", "retry_after_seconds": 1}}, "request_id": "rid"}`
	for name, test := range map[string]struct {
		status     int
		body       string
		want       int
		code       string // where it is not the host's
		retryAfter string
	}{
		"broken code":     {status: 422, body: broken, want: 422},
		"odd status":      {status: 418, body: broken, want: 418},
		"busy":            {status: 429, body: busy, want: 429, retryAfter: "1"},
		"no error of us":  {status: 500, body: `{}`, want: 503, code: "UNAVAILABLE"},
		"a page":          {status: 502, body: `<html>`, want: 503, code: "UNAVAILABLE"},
		"no error at all": {status: 302, body: broken, want: 503, code: "UNAVAILABLE"},
		"too much":        {status: 422, body: `{"error": "` + strings.Repeat("x", 2<<20) + `"}`, want: 503, code: "UNAVAILABLE"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.options.Check = newHost(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(test.status)
				_, _ = w.Write([]byte(test.body))
			}).Check
			status, got, header := r.send("POST", functions, goodFunction)
			if status != test.want || header.Get("Retry-After") != test.retryAfter {
				t.Errorf("%d %v, Retry-After %q", status, got, header.Get("Retry-After"))
			}
			var want any
			if test.code == "" {
				_ = json.Unmarshal([]byte(test.body), &want)
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			} else if e := got.(map[string]any)["error"].(map[string]any); e["code"] != test.code || e["details"].(map[string]any)["component"] != "runtime" {
				t.Errorf("the error is %v", e)
			}
			r.wantError("GET", functions+"/nodejs-f", faas.NotFound, "")
			r.wantChanged()
		})
	}
}

func TestCheckWithoutHost(t *testing.T) {
	refused := &http.Client{Transport: &http.Transport{Dial: func(string, string) (net.Conn, error) { return nil, io.ErrUnexpectedEOF }}}
	for name, hosts := range map[string]api.Hosts{
		"no nodejs runtime is configured":     {},
		"the nodejs runtime does not answer":  {faas.NodeJS: refused},
		"the nodejs runtime does not answer,": newHost(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }),
		"ended its answer too soon": newHost(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "10")
			_, _ = w.Write([]byte("{}"))
		}),
	} {
		r := newRig(t)
		r.options.Check = hosts.Check
		status, body, _ := r.send("POST", functions, goodFunction)
		e := body.(map[string]any)["error"].(map[string]any)
		if status != 503 || !strings.Contains(e["message"].(string), name) || e["details"].(map[string]any)["component"] != "runtime" {
			t.Errorf("%s: %d %v", name, status, e)
		}
	}
}
