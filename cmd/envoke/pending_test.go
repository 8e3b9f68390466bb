package main

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"envoke/internal/testrig"
	"envoke/runtimes/sandbox"
)

// shown is what E3 shows of a build.
type shown struct {
	Status        string  `json:"status"`
	CompileStatus string  `json:"compile_status"`
	CompileStep   *string `json:"compile_step"`
	CompileSince  *string `json:"compile_since"`
	CompileError  *struct {
		Code    string         `json:"code"`
		Details map[string]any `json:"details"`
	} `json:"compile_error"`
}

func (i *installation) showBuild(t *testing.T, id string) (s shown) {
	t.Helper()
	if err := json.Unmarshal(i.must(t, 200, http.MethodGet, "/api/v1/sessions/"+id, "").body, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// builder posts code to an installation that waits for no build.
type builder struct{ *installation }

// begin initializes, is told that the code is being built, and sees that it is.
func (b builder) begin(t *testing.T, name, step string, body map[string]any) (id string) {
	t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	var made struct {
		RequestID     string `json:"request_id"`
		CompileStatus string `json:"compile_status"`
	}
	r := b.must(t, http.StatusAccepted, http.MethodPost, "/api/v1/initialize", string(raw), "Language-Title", name)
	if err := json.Unmarshal(r.body, &made); err != nil || made.CompileStatus != "pending" {
		t.Fatalf("%s (%v)", r.body, err)
	}
	s := b.showBuild(t, made.RequestID)
	if s.Status != "active" || s.CompileStatus != "pending" || s.CompileStep == nil || *s.CompileStep != step || s.CompileSince == nil || s.CompileError != nil {
		t.Errorf("the session is %+v", s)
	}
	return made.RequestID
}

// once makes source that no cache has.
func once(source string) string { return source + "\n// " + rand.Text() + "\n" }

// TestPendingBuilds: builds that take longer than an initialize waits go on without it.
func TestPendingBuilds(t *testing.T) {
	b := builder{serve(t, "--build-wait-ms", "1", "--rustc", testrig.Rustc(t), "--pip-index-url", pipIndex(t).URL)}
	t.Run("success", b.success)
	t.Run("failure", b.failure)
	t.Run("a hasty execute", b.hasty)
	t.Run("a one-shot", b.oneShot)
	t.Run("dependencies", b.dependencies)
}

func (b builder) success(t *testing.T) {
	id := b.begin(t, "rust-next", "compiling", map[string]any{"script_content": once("fn handler(params: Value) -> Option<u64> { params.as_u64().map(|n| n + 1) }")})
	for range 2 {
		if got := b.execute(t, id, "41").result(t); got != "42" {
			t.Errorf("got %s", got)
		}
	}
	testrig.Eventually(t, "the session is ready", func() bool {
		s := b.showBuild(t, id)
		return s.Status == "active" && s.CompileStatus == "success" && s.CompileStep == nil && s.CompileSince == nil
	})
}

func (b builder) failure(t *testing.T) {
	id := b.begin(t, "rust-broken", "compiling", map[string]any{"script_content": once("fn handler(params: Value) -> f64 {\n    params.nothing()\n}")})
	for range 2 {
		e := b.execute(t, id, "{}").isError(t, http.StatusUnprocessableEntity, "INITIALIZATION_ERROR", "function")
		if d := e.Error.Details; d["line"] != 2.0 || d["column"] != 12.0 || d["stack_trace"] == nil {
			t.Errorf("details %v", d)
		}
		testrig.Eventually(t, "the session tells why", func() bool {
			s := b.showBuild(t, id)
			return s.Status == "error" && s.CompileStatus == "error" && s.CompileError != nil &&
				s.CompileError.Code == "INITIALIZATION_ERROR" && s.CompileError.Details["line"] == 2.0
		})
	}
}

func (b builder) hasty(t *testing.T) {
	id := b.begin(t, "rust-next", "compiling", map[string]any{
		"script_content": once("fn handler(_: Value) -> u64 { 7 }"), "context": map[string]any{"timeout_ms": 50},
	})
	e := b.execute(t, id, "{}").isError(t, http.StatusGatewayTimeout, "TIMEOUT", "runtime")
	if !strings.Contains(e.Error.Message, "still being built after 50 ms") {
		t.Error(e.Error.Message)
	}
	testrig.Eventually(t, "the code is there", func() bool { return b.execute(t, id, "{}").status == http.StatusOK })
}

func (b builder) oneShot(t *testing.T) {
	body, err := json.Marshal(map[string]any{
		"script_content": once("fn handler(_: Value) -> u64 { 8 }"), "params": nil, "context": map[string]any{"timeout_ms": 100},
	})
	if err != nil {
		t.Fatal(err)
	}
	post := func() reply {
		return b.send(t, http.MethodPost, "/api/v1/execute", string(body), "Language-Title", "rust-once")
	}
	e := post().isError(t, http.StatusGatewayTimeout, "TIMEOUT", "runtime")
	if !strings.Contains(e.Error.Message, "send the same request again") {
		t.Error(e.Error.Message)
	}
	testrig.Eventually(t, "the same request finds what was built", func() bool { return post().status == http.StatusOK })
}

func (b builder) dependencies(t *testing.T) {
	if why := sandbox.NoConnect(); why != "" {
		t.Skip(why)
	}
	id := b.begin(t, "python-own", "installing dependencies", map[string]any{
		"script_content": "import left\nresult = left.name", "dependencies": map[string]string{"requirements.txt": "left==1.0\n# " + rand.Text() + "\n"},
	})
	if got := b.execute(t, id, "null").result(t); got != `"left"` {
		t.Errorf("got %s", got)
	}
}
