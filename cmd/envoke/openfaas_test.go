package main

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"envoke/internal/testrig"
)

// echo answers how it was called.
func echo(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	w.Header().Set("X-From", "openfaas")
	w.Header().Set("X-Envoke-Cluster", "forged")
	w.WriteHeader(http.StatusTeapot)
	fmt.Fprintf(w, "%s %s?%s %s", r.Method, r.URL.Path, r.URL.RawQuery, body)
}

// from is whose function has answered.
func (r reply) from() string {
	switch {
	case r.header.Get("X-From") != "":
		return r.header.Get("X-From")
	case r.status == http.StatusOK:
		return "envoke"
	}
	return ""
}

// ask is a call that the API's document says nothing of.
func (i *installation) ask(t *testing.T, method, path, body string, headers ...string) reply {
	t.Helper()
	r, err := send(method, i.base+path, body, headers...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// serveWithOpenFaaS is an installation beside an OpenFaaS, which has told its functions already.
func serveWithOpenFaaS(t *testing.T, of *testrig.OpenFaaS, args ...string) *installation {
	t.Helper()
	i := serve(t, append([]string{"--openfaas-gateway-url", of.URL, "--openfaas-password", of.Password}, args...)...)
	testrig.Eventually(t, "OpenFaaS to be well", func() bool {
		return strings.Contains(string(i.ask(t, http.MethodGet, "/health", "").body), `"openfaas":"ok"`)
	})
	return i
}

// TestOpenFaaS: ours is called if we have one of the name, else OpenFaaS's, else nobody's.
func TestOpenFaaS(t *testing.T) {
	of := testrig.NewOpenFaaS(t, "s3cret")
	for _, name := range []string{"nodeinfo", "nodejs-info", "nodejs-calculator", "report.dev"} {
		of.Deploy(name, echo)
	}
	i := serveWithOpenFaaS(t, of)

	for _, test := range []struct{ method, path, body, want string }{
		{http.MethodPost, "/function/nodeinfo", "a body", "POST /? a body"},
		{http.MethodGet, "/function/nodeinfo/a/b%20c/?q=1&q=%2F2", "", "GET /a/b c/?q=1&q=%2F2 "},
		{http.MethodDelete, "/function/nodeinfo", "", "DELETE /? "},
		{http.MethodPatch, "/function/nodeinfo/x", strings.Repeat("x", 1<<20), "PATCH /x? " + strings.Repeat("x", 1<<20)},
		{http.MethodPost, "/function/report.dev", "{}", "POST /? {}"},
		{http.MethodPost, "/function/nodejs-info/path?a=b", "{}", "POST /path?a=b {}"},
		{http.MethodGet, "/function/nodejs-info", "", "GET /? "},
	} {
		r := i.ask(t, test.method, test.path, test.body, "X-Request-Id", "req-7", "X-Envoke-Function", "forged")
		if string(r.body) != test.want || r.status != http.StatusTeapot || r.header.Get("X-Envoke-Cluster") != "" || r.header.Get("X-Call-Id") == "" {
			t.Errorf("%s %s: %d %.100q %v", test.method, test.path, r.status, r.body, r.header)
		}
	}
	for _, h := range of.Called() {
		for name := range h {
			if strings.HasPrefix(name, "X-Envoke-") {
				t.Errorf("OpenFaaS is sent %s", name)
			}
		}
		if h.Get("X-Request-Id") != "req-7" || h.Get("X-Forwarded-Host") != strings.TrimPrefix(i.base, "http://") || h.Get("Authorization") != "" {
			t.Errorf("headers of a call: %v", h)
		}
	}

	if r := i.send(t, http.MethodPost, "/function/nodejs-calculator", `{"operation":"multiply","a":6,"b":7}`); r.from() != "envoke" {
		t.Errorf("a function of ours: %d %s", r.status, r.body)
	}
	for _, path := range []string{"/function/missing", "/function/nodejs-missing", "/function/nodejs-missing:prod/x", "/function/", "/function/report", "/async-function/missing"} {
		i.ask(t, http.MethodPost, path, "{}").isError(t, 404, "NOT_FOUND", "extproc")
	}

	of.Deploy("python-new", echo) // in no list yet
	if r := i.ask(t, http.MethodPost, "/function/python-new", ""); r.from() != "openfaas" {
		t.Errorf("a function that was just deployed: %d %s", r.status, r.body)
	}
	i.must(t, 201, http.MethodPost, functionsPath, `{"language":"nodejs","title":"info","script_content":"return 'ours'"}`)
	if r := i.ask(t, http.MethodPost, "/function/nodejs-info", "{}"); r.from() != "envoke" {
		t.Errorf("once it is ours: %d %s", r.status, r.body)
	}
	i.must(t, 204, http.MethodDelete, functionsPath+"/nodejs-info", "")
	testrig.Eventually(t, "OpenFaaS's function to be back", func() bool {
		return i.ask(t, http.MethodPost, "/function/nodejs-info", "{}").from() == "openfaas"
	})
}

// TestOpenFaaSAsync: a call that is to be made later is OpenFaaS's, and never of a function of
// ours.
func TestOpenFaaSAsync(t *testing.T) {
	of := testrig.NewOpenFaaS(t, "")
	of.Deploy("slow", func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	of.Deploy("nodejs-calculator", echo)
	i := serveWithOpenFaaS(t, of)

	called := make(chan string, 1)
	callback := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		called <- fmt.Sprintf("%s %s", r.Header.Get("X-Function-Status"), body)
	}))
	defer callback.Close()
	if r := i.ask(t, http.MethodPost, "/async-function/slow/x?y", "later", "X-Callback-Url", callback.URL); r.status != http.StatusAccepted || r.header.Get("X-Call-Id") == "" {
		t.Fatalf("%d %s", r.status, r.body)
	}
	select {
	case got := <-called:
		if got != "200 later" {
			t.Errorf("the callback: %s", got)
		}
	case <-time.After(10 * time.Second):
		t.Error("nobody called back")
	}
	i.ask(t, http.MethodPost, "/async-function/nodejs-calculator", "{}").isError(t, 400, "INVALID_REQUEST", "extproc")
	r := i.ask(t, http.MethodGet, "/async-function/slow", "")
	if r.isError(t, 405, "INVALID_REQUEST", "envoy"); r.header.Get("Allow") != "POST" {
		t.Errorf("Allow: %v", r.header)
	}
}

// TestOpenFaaSStreams: what a function sends comes as it is sent.
func TestOpenFaaSStreams(t *testing.T) {
	of := testrig.NewOpenFaaS(t, "")
	next := make(chan struct{})
	of.Deploy("events", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for n := range 3 {
			fmt.Fprintf(w, "data: %d\n\n", n)
			_ = http.NewResponseController(w).Flush()
			select {
			case <-next:
			case <-r.Context().Done():
			}
		}
	})
	i := serveWithOpenFaaS(t, of)
	answer, err := client.Get(i.base + "/function/events")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	part := make([]byte, 64)
	for n := range 3 {
		read, err := answer.Body.Read(part)
		if want := fmt.Sprintf("data: %d\n\n", n); string(part[:read]) != want {
			t.Fatalf("got %q (%v), want %q", part[:read], err, want)
		}
		next <- struct{}{}
	}
}

// TestOpenFaaSAway: a gateway that is away is nobody else's fault, and harms nobody else.
func TestOpenFaaSAway(t *testing.T) {
	of := testrig.NewOpenFaaS(t, "s3cret")
	of.Deploy("nodeinfo", echo)
	i := serveWithOpenFaaS(t, of)
	of.Close()
	i.ask(t, http.MethodPost, "/function/nodeinfo", "{}").isError(t, 503, "UNAVAILABLE", "openfaas")
	i.ask(t, http.MethodPost, "/function/nodejs-whatever", "{}").isError(t, 503, "UNAVAILABLE", "openfaas")
	if r := i.send(t, http.MethodPost, "/function/nodejs-calculator", `{"operation":"add","a":6,"b":7}`); r.status != http.StatusOK {
		t.Errorf("a function of ours: %d %s", r.status, r.body)
	}
	testrig.Eventually(t, "/health to tell", func() bool {
		r := i.send(t, http.MethodGet, "/health", "")
		return r.status == http.StatusOK && strings.Contains(string(r.body), `"status":"degraded"`) && strings.Contains(string(r.body), `"openfaas":"down"`)
	})
	shown, err := send(http.MethodGet, i.operators+"/debug/openfaas", "")
	if err != nil || !strings.Contains(string(shown.body), `"nodeinfo"`) || strings.Contains(string(shown.body), "s3cret") {
		t.Errorf("what operators see: %v %s", err, shown.body)
	}
}

// TestOpenFaaSDoor: who may not call may not call OpenFaaS through us either, and what callers
// show goes no further.
func TestOpenFaaSDoor(t *testing.T) {
	const admin = "0123456789abcdef-of-the-operator-s3cr3t"
	t.Setenv("ADMIN_KEY", admin)
	of := testrig.NewOpenFaaS(t, "s3cret")
	of.Deploy("nodeinfo", echo)
	of.Deploy("nodejs-info", echo)
	i := serveWithOpenFaaS(t, of, "--auth", "--rate-execute-per-minute", "20")
	key := func(scope string) string {
		r := i.send(t, http.MethodPost, "/api/v1/keys", `{"name":"a","user_id":"ada-`+scope[8:]+`","scopes":["`+scope+`"]}`, "X-API-Key", admin)
		var made struct{ Secret string }
		if err := json.Unmarshal(r.body, &made); err != nil || r.status != http.StatusCreated {
			t.Fatalf("%d %s", r.status, r.body)
		}
		return made.Secret
	}
	all, javascript := key("execute:all"), key("execute:nodejs")
	for _, path := range []string{"/function/nodeinfo", "/function/nodejs-info", "/async-function/nodeinfo"} {
		i.ask(t, http.MethodPost, path, "").isError(t, 401, "UNAUTHORIZED", "envoy")
		i.ask(t, http.MethodPost, path, "", "X-API-Key", javascript).isError(t, 403, "FORBIDDEN", "extproc")
		if r := i.ask(t, http.MethodPost, path, "", "Authorization", "Bearer "+all); r.status != http.StatusTeapot && r.status != http.StatusAccepted {
			t.Errorf("%s: %d %s", path, r.status, r.body)
		}
	}
	for _, h := range of.Called() {
		if h.Get("Authorization") != "" || h.Get("X-Api-Key") != "" || h.Get("X-Envoke-Scopes") != "" {
			t.Errorf("OpenFaaS is shown %v", h)
		}
	}
	limited := false
	for range 40 {
		limited = limited || i.ask(t, http.MethodPost, "/async-function/nodeinfo", "", "X-API-Key", all).status == http.StatusTooManyRequests
	}
	if !limited {
		t.Error("calls that are made later do not count")
	}
}

// TestOpenFaaSByTLS: Envoy and control believe the authorities of the setting, and no others.
func TestOpenFaaSByTLS(t *testing.T) {
	of := testrig.NewOpenFaaSTLS(t, "s3cret")
	of.Deploy("nodeinfo", echo)
	file := filepath.Join(t.TempDir(), "ca.pem")
	raw := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: of.Server().Certificate().Raw})
	if err := os.WriteFile(file, raw, 0o644); err != nil {
		t.Fatal(err)
	}
	i := serveWithOpenFaaS(t, of, "--openfaas-ca-file", file)
	if r := i.ask(t, http.MethodPost, "/function/nodeinfo", ""); r.from() != "openfaas" {
		t.Errorf("%d %s", r.status, r.body)
	}
	stranger := serve(t, "--openfaas-gateway-url", of.URL)
	stranger.ask(t, http.MethodPost, "/function/nodeinfo", "").isError(t, 503, "UNAVAILABLE", "openfaas")
}

// TestOpenFaaSOfMappedNames: where a file maps names to languages, ours are still first.
func TestOpenFaaSOfMappedNames(t *testing.T) {
	file := filepath.Join(t.TempDir(), "mappings.json")
	writeFile(t, file, `[{"pattern":"calc","runtime_type":"nodejs"},{"pattern":"^nodejs-","runtime_type":"nodejs","is_regex":true}]`)
	of := testrig.NewOpenFaaS(t, "")
	for _, name := range []string{"nodeinfo", "calc", "nodejs-calculator"} {
		of.Deploy(name, echo)
	}
	i := serveWithOpenFaaS(t, of, "--runtime-selection-strategy", "config", "--runtime-mappings-file", file)
	for path, want := range map[string]string{
		"/function/nodeinfo": "openfaas", "/function/calc": "openfaas", "/function/nodejs-calculator": "envoke", "/function/missing": "",
	} {
		if r := i.ask(t, http.MethodPost, path, `{"operation":"add","a":6,"b":7}`); r.from() != want {
			t.Errorf("%s: %d %s", path, r.status, r.body)
		}
	}
}

// TestRuntimesOfOpenFaaS: the code of a language runs at the function that is reserved for it,
// which here is a runtime host of ours, by the older protocol.
func TestRuntimesOfOpenFaaS(t *testing.T) {
	elsewhere := shared(t)
	of := testrig.NewOpenFaaS(t, "")
	socket := filepath.Join(elsewhere.runDir, "nodejs.sock")
	host := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	t.Cleanup(host.CloseIdleConnections)
	of.Deploy("nodejs-runtime", func(w http.ResponseWriter, r *http.Request) {
		inner, err := http.NewRequestWithContext(r.Context(), r.Method, "http://runtime"+r.URL.Path, r.Body)
		if err == nil {
			var answer *http.Response
			if answer, err = host.Do(inner); err == nil {
				defer answer.Body.Close()
				w.WriteHeader(answer.StatusCode)
				_, err = io.Copy(w, answer.Body)
			}
		}
		if err != nil {
			t.Errorf("the runtime: %v", err)
		}
	})
	i := serveWithOpenFaaS(t, of, "--openfaas-runtimes", "nodejs")

	id := i.initializeWith(t, map[string]any{
		"script_content": "return {sum: event.params.a + event.params.b, in: event.context.currency}", "context": map[string]any{"currency": "EUR"},
	})
	if got := i.execute(t, id, `{"a":1,"b":2}`).result(t); got != `{"sum":3,"in":"EUR"}` {
		t.Errorf("a session: %s", got)
	}
	if len(of.Called()) == 0 {
		t.Error("the code did not run at OpenFaaS")
	}
	if r := i.send(t, http.MethodPost, "/function/nodejs-calculator", `{"operation":"multiply","a":6,"b":7}`); r.status != http.StatusOK || !strings.Contains(string(r.body), `"result":42`) {
		t.Errorf("a registered function: %d %s", r.status, r.body)
	}
	id = i.initialize(t, "return missing.x")
	i.execute(t, id, "{}").isError(t, 500, "RUNTIME_ERROR", "function")
	if r := i.send(t, http.MethodPost, "/api/v1/initialize", `{"script_content":"return 1","context":{"retain_session":true}}`, "Language-Title", "nodejs-a"); r.status != http.StatusBadRequest {
		t.Errorf("a context that would not come back: %d %s", r.status, r.body)
	}
	of.Remove("nodejs-runtime")
	i.execute(t, id, "{}").isError(t, 503, "UNAVAILABLE", "runtime")
}
