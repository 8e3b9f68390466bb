package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"envoke/internal/testrig"
	"envoke/runtimes/egress"
	"envoke/runtimes/sandbox"
)

const (
	nodejsFetch = "return await (await fetch(event.params)).text()"
	// nodejsCrowd counts what becomes of three requests at once.
	nodejsCrowd = "const n = {fulfilled: 0, rejected: 0}; for (const r of await Promise.allSettled([1, 2, 3].map(() => fetch(event.params)))) n[r.status]++; return n"
	pythonFetch = "import urllib.request\\nresult = urllib.request.urlopen(params).read().decode()"
)

// A registered function that says so reaches what the operator lets it, by every way that
// it is called, and nothing of this machine's besides.
func TestEgressOfFunctions(t *testing.T) {
	if why := sandbox.NoConnect(); why != "" {
		t.Skip(why)
	}
	var crowd atomic.Int32
	together := make(chan struct{})
	hello := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/crowd" { // all are answered when there are two
			if crowd.Add(1) == 2 {
				close(together)
			}
			select {
			case <-together:
			case <-r.Context().Done():
			}
		}
		_, _ = io.WriteString(w, "hello")
	}))
	defer hello.Close()
	at, _ := url.Parse(hello.URL)
	i := serve(t, "--egress-allow", at.Host, "--egress-worker-connections", "2")
	for language, script := range map[string]string{"nodejs": nodejsFetch, "python": pythonFetch} {
		title := language + "_out"
		name := language + "-" + title
		i.must(t, 201, http.MethodPost, functionsPath, fmt.Sprintf(`{"language": %q, "title": %q, "network": "egress", "script_content": "%s"}`, language, title, script))
		params := fmt.Sprintf("%q", hello.URL)
		for _, got := range []string{
			i.execute(t, i.open(t, name), params).result(t),
			i.must(t, 200, http.MethodPost, "/function/"+name, params, "Content-Type", "application/json").String(),
		} {
			if got != `"hello"` {
				t.Errorf("%s: got %s", name, got)
			}
		}
		for _, own := range []string{i.base, i.operators + "/metrics", "http://169.254.169.254/"} {
			e := i.send(t, http.MethodPost, "/function/"+name, fmt.Sprintf("%q", own), "Content-Type", "application/json").isError(t, 500, "RUNTIME_ERROR", "function")
			if language == "nodejs" && !strings.Contains(e.Error.Message, "is refused: ") {
				t.Errorf("%s: %s", own, e.Error.Message)
			}
		}
	}
	if shown := i.must(t, 200, http.MethodGet, functionsPath+"/nodejs-nodejs_out", "").String(); !strings.Contains(shown, `"network":"egress"`) {
		t.Error(shown)
	}
	i.must(t, 201, http.MethodPost, functionsPath, `{"language": "nodejs", "title": "crowd", "network": "egress", "script_content": "`+nodejsCrowd+`"}`)
	if got := i.must(t, 200, http.MethodPost, "/function/nodejs-crowd", fmt.Sprintf("%q", hello.URL+"/crowd"), "Content-Type", "application/json").String(); got != `{"fulfilled":2,"rejected":1}` {
		t.Errorf("of three connections: %s", got)
	}
	i.must(t, 201, http.MethodPost, functionsPath, `{"language": "nodejs", "title": "kept_in", "script_content": "`+nodejsFetch+`"}`)
	e := i.send(t, http.MethodPost, "/function/nodejs-kept_in", fmt.Sprintf("%q", hello.URL), "Content-Type", "application/json").isError(t, 500, "RUNTIME_ERROR", "function")
	if !strings.Contains(e.Error.Message, "functions have no network") {
		t.Error(e.Error.Message)
	}
	// A script of a session's own is not registered, and a module has no network at all.
	refused := i.send(t, http.MethodPost, "/api/v1/initialize", `{"script_content": "return 1", "compile_options": {"network": "egress"}}`, "Language-Title", "nodejs-x").isError(t, 400, "INVALID_REQUEST", "runtime")
	if !strings.Contains(refused.Error.Message, "EGRESS=registered") {
		t.Error(refused.Error.Message)
	}
	refused = i.send(t, http.MethodPost, functionsPath, `{"language": "rust", "title": "out", "network": "egress", "script_content": "AA==", "compile_options": {"target": "wasm32-wasip1"}}`).isError(t, 400, "INVALID_REQUEST", "runtime")
	if !strings.Contains(refused.Error.Message, "WebAssembly modules have no network") {
		t.Error(refused.Error.Message)
	}
	metrics, err := send(http.MethodGet, i.operators+"/metrics", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`envoke_egress_requests_total{outcome="connected"} `, `envoke_egress_refused_total{rule="link-local"} 2`, `envoke_egress_refused_total{rule="own"} 4`} {
		if !strings.Contains(metrics.String(), want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	if !strings.Contains(i.stderr.String(), "egress refused") {
		t.Error("the log does not say what was refused")
	}
}

// The description of a folder's function may say so too.
func TestDeployWithANetwork(t *testing.T) {
	if why := sandbox.NoConnect(); why != "" {
		t.Skip(why)
	}
	i := shared(t)
	folder := testrig.Dir(t)
	for name, text := range map[string]string{"function.yaml": "name: deployed_out\nnetwork: egress\n", "index.js": "return process.env.HTTPS_PROXY !== undefined"} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := i.cli(t, "", "deploy", folder); got.code != 0 {
		t.Fatalf("%+v", got)
	}
	t.Cleanup(func() { i.must(t, 204, http.MethodDelete, functionsPath+"/nodejs-deployed_out", "") })
	if got := i.must(t, 200, http.MethodPost, "/function/nodejs-deployed_out", "").String(); got != "true" {
		t.Errorf("got %s", got)
	}
}

func (r reply) String() string { return string(r.body) }

func TestEgressSettings(t *testing.T) {
	for _, test := range []struct{ name, value, want string }{
		{"EGRESS", "some", `EGRESS is "some": it must be off, registered or all`},
		{"EGRESS_ALLOW", "10.0.0.0/99", `"10.0.0.0/99" is no network`},
		{"EGRESS_ALLOW", "*", "would let functions reach this machine"},
		{"EGRESS_DENY", "http://x", `"http://x" is no network`},
		{"EGRESS_MAX_CONNECTIONS", "0", "EGRESS_MAX_CONNECTIONS is 0: it must be 1 to 65536"},
		{"EGRESS_WORKER_CONNECTIONS", "-1", "EGRESS_WORKER_CONNECTIONS is -1"},
		{"EGRESS_IDLE_SECONDS", "3601", "EGRESS_IDLE_SECONDS is 3601: it must be 1 to 3600"},
	} {
		if _, err := loadConfig(t, nil, map[string]string{test.name: test.value}); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s=%s: %v", test.name, test.value, err)
		}
	}
	if _, err := loadConfig(t, nil, map[string]string{"EGRESS": "all", "EGRESS_ALLOW": "10.0.0.0/8:443,db", "EGRESS_DENY": "*"}); err != nil {
		t.Error(err)
	}
}

func TestEgressLimits(t *testing.T) {
	for name, test := range map[string]struct {
		set  map[string]string
		want egress.Limits
	}{
		"by default": {nil, egress.Limits{PerWorker: 64, All: 1024, Idle: 2 * time.Minute, Total: time.Hour}},
		"all set": {
			map[string]string{"EGRESS_WORKER_CONNECTIONS": "5", "EGRESS_MAX_CONNECTIONS": "3", "EGRESS_IDLE_SECONDS": "1800"},
			egress.Limits{PerWorker: 5, All: 3, Idle: 30 * time.Minute, Total: time.Hour},
		},
	} {
		c, err := loadConfig(t, nil, test.set)
		if got := c.egressLimits(); err != nil || got != test.want {
			t.Errorf("%s: %+v, %v, want %+v", name, got, err, test.want)
		}
	}
}
