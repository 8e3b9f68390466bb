package main

import (
	"net/http"
	"os"
	"strings"
	"testing"

	"envoke/internal/testrig"
)

func TestRubyIsServedWhereItIsAskedFor(t *testing.T) {
	i := serve(t, "--ruby", testrig.Ruby(t))
	r := i.send(t, http.MethodPost, "/api/v1/execute", `{"script_content":"puts 'hi'\n{ sum: params['a'] + params['b'] }","params":{"a":1,"b":2}}`, "Language-Title", "ruby-add")
	if got := r.result(t); got != `{"sum":3}` {
		t.Errorf("got %s", got)
	}
	id := i.initializeAs(t, "ruby-number", map[string]any{"script_content": "def handle(params) = Integer(params)"})
	if id[15] != '4' {
		t.Errorf("the session's id is %s", id)
	}
	if got := i.execute(t, id, `"42"`).result(t); got != "42" {
		t.Errorf("got %s", got)
	}
	e := i.execute(t, id, `"x"`).isError(t, http.StatusInternalServerError, "RUNTIME_ERROR", "function")
	if e.Error.Details["type"] != "ArgumentError" || e.Error.Details["line"] != 1.0 {
		t.Errorf("details %v", e.Error.Details)
	}
	r = i.send(t, http.MethodPost, "/api/v1/functions", `{"language":"ruby","title":"count","script_content":"(1..3).lazy.map { |n| { n: n } }"}`)
	if r.status != http.StatusCreated {
		t.Fatalf("%d %s", r.status, r.body)
	}
	r = i.send(t, http.MethodPost, "/function/ruby-count", "")
	if got := string(r.body); r.status != http.StatusOK || !strings.Contains(got, `{"n":1}`) || !strings.Contains(got, `{"n":3}`) {
		t.Errorf("%d %s", r.status, got)
	}
	r = i.send(t, http.MethodGet, "/health", "")
	if !strings.Contains(string(r.body), `"ruby":"ok"`) {
		t.Errorf("%s", r.body)
	}
}

// Where nobody asked for Ruby, nothing speaks of it but names that begin with it.
func TestRubyIsNotServed(t *testing.T) {
	if os.Getenv("RUBY") != "" {
		t.Skip("RUBY is set, so that all installations serve it")
	}
	i := shared(t)
	r := i.send(t, http.MethodPost, "/api/v1/execute", `{"script_content":"1"}`, "Language-Title", "ruby-add")
	if e := r.isError(t, http.StatusServiceUnavailable, "UNAVAILABLE", "runtime"); e.Error.Message != "no ruby runtime is configured here" {
		t.Errorf("%s", r.body)
	}
	r = i.send(t, http.MethodGet, "/health", "")
	if strings.Contains(string(r.body), "ruby") {
		t.Errorf("%s", r.body)
	}
}
