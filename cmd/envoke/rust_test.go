package main

import (
	"encoding/json"
	"net/http"
	"testing"

	"envoke/internal/testrig"
)

// TestRustSource goes the ways on which source comes: initialize, a one-shot, and a
// registration whose function is called by plain HTTP.
func TestRustSource(t *testing.T) {
	i := serve(t, "--rustc", testrig.Rustc(t))
	initialize := func(source string) reply {
		body, err := json.Marshal(map[string]string{"script_content": source})
		if err != nil {
			t.Fatal(err)
		}
		return i.send(t, http.MethodPost, "/api/v1/initialize", string(body), "Language-Title", "rust-sum")
	}
	var session struct {
		RequestID     string `json:"request_id"`
		CompileStatus string `json:"compile_status"`
	}
	r := initialize("fn handler(params: Map<String, Value>) -> f64 {\n    params.values().filter_map(Value::as_f64).sum()\n}")
	if err := json.Unmarshal(r.body, &session); err != nil || r.status != http.StatusOK || session.CompileStatus != "success" {
		t.Fatalf("initialize: %d %s", r.status, r.body)
	}
	for range 3 { // interpreted, then compiled
		if got := i.execute(t, session.RequestID, `{"a":1,"b":2.5}`).result(t); got != "3.5" {
			t.Errorf("got %s", got)
		}
	}
	e := initialize("fn handler(params: Value) -> f64 {\n    params.nothing()\n}").isError(t, http.StatusUnprocessableEntity, "INITIALIZATION_ERROR", "function")
	if d := e.Error.Details; d["line"] != 2.0 || d["column"] != 12.0 || d["stack_trace"] == nil {
		t.Errorf("details %v", d)
	}
	r = i.send(t, http.MethodPost, "/api/v1/execute", `{"params":{"n":20},"script_content":"params[\"n\"].as_u64().map(|n| n + 1)"}`, "Language-Title", "rust-next")
	if got := r.result(t); got != "21" {
		t.Errorf("got %s", got)
	}
	e = i.send(t, http.MethodPost, "/api/v1/execute", `{"params":{},"script_content":"params[\"n\"].as_u64().unwrap()"}`, "Language-Title", "rust-next").
		isError(t, http.StatusInternalServerError, "RUNTIME_ERROR", "function")
	if d := e.Error.Details; d["type"] != "Panic" || d["line"] != 1.0 || d["column"] != 22.0 {
		t.Errorf("details %v", d)
	}
	r = i.send(t, http.MethodPost, "/api/v1/functions",
		`{"language":"rust","title":"greet","script_content":"json!({\"statusCode\": 201, \"body\": format!(\"Hello, {}\", params[\"name\"].as_str().unwrap_or(\"you\"))})"}`)
	if r.status != http.StatusCreated {
		t.Fatalf("register: %d %s", r.status, r.body)
	}
	if r := i.send(t, http.MethodGet, "/function/rust-greet?name=Ada", ""); r.status != http.StatusCreated || string(r.body) != "Hello, Ada" {
		t.Errorf("got %d %s", r.status, r.body)
	}
}
