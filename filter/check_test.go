package main

import (
	"errors"
	"strings"
	"testing"

	"envoke/internal/faas"
)

func TestCheck(t *testing.T) {
	for _, tt := range []struct{ name, method, path, title, want string }{
		{"initialize", "POST", "/api/v1/initialize", "nodejs-hello", ""},
		{"initialize with a query", "POST", "/api/v1/initialize?x=y", "hello", "in the Language-Title header must begin with"},
		{"initialize without a name", "POST", "/api/v1/initialize", "", "in the Language-Title header is missing"},
		{"initialize, another method", "GET", "/api/v1/initialize", "", ""},
		{"one-shot", "POST", "/api/v1/execute", "python-a.b", ""},
		{"one-shot, climbing", "POST", "/api/v1/execute", "nodejs-a..b", "in the Language-Title header must not contain '..'"},
		{"execute of a session", "POST", "/api/v1/execute/x", "..", ""},
		{"all functions", "GET", "/api/v1/functions", "", ""},
		{"no function", "GET", "/api/v1/functions/", "", ""},
		{"function", "GET", "/api/v1/functions/rust-a", "", ""},
		{"by version", "POST", "/api/v1/initialize", "nodejs-a@12", ""},
		{"by no version", "POST", "/api/v1/initialize", "nodejs-a@v1", "a version"},
		{"function by alias", "GET", "/api/v1/functions/rust-a:prod", "", ""},
		{"function of no language", "DELETE", "/api/v1/functions/hello", "", "in the path must begin with"},
		{"versions of a function", "GET", "/api/v1/functions/nodejs-/versions", "", "in the path is empty"},
		{"escaped, for control to judge", "GET", "/api/v1/functions/nodejs-a%20b", "", ""},
		{"plain HTTP", "PUT", "/function/nodejs-a/b/..c?d", "", ""},
		{"plain HTTP, too long", "GET", "/function/nodejs-" + strings.Repeat("a", faas.MaxTitle+1), "", "in the path is longer than"},
		{"runtime", "POST", "/runtime/nodejs/a", "", ""},
		{"runtime, unknown language", "POST", "/runtime/perl/a", "", "in the path must begin with"},
		{"runtime, slash in the title", "POST", "/runtime/nodejs/a/b", "", "letters, digits"},
		{"runtime without a title", "POST", "/runtime/nodejs", "", ""},
		{"anything else", "GET", "/health", "..", ""},
		{"no path", "CONNECT", "", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := check(tt.method, tt.path, tt.title)
			if tt.want == "" && err != nil {
				t.Errorf("refused: %v", err)
			}
			if tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

// Errors offer the languages that the installation has, as it configured the filter.
func TestOffersLanguages(t *testing.T) {
	bothForms(t, func(t *testing.T, plugin plugin) {
		for config, want := range map[string]string{
			"64":                    "must begin with nodejs-, python- or rust-, as",
			"64 nodejs":             "must begin with nodejs-, as",
			"64 nodejs python ruby": "must begin with nodejs-, python- or ruby-, as",
		} {
			e := newEnvoy(plugin, 64)
			e.Config = []byte(config)
			plugin.configure(1, uint32(len(config)))
			refusal, answered := e.ask([][2]string{{":method", "GET"}, {":path", "/function/calculator"}})
			if !answered || !strings.Contains(refusal.Body, want) {
				t.Errorf("%q: %q, want %q", config, refusal.Body, want)
			}
		}
	})
}

// FuzzCheck holds two promises: what a name may be passes wherever it stands, and
// each refusal is one that the caller may read.
func FuzzCheck(f *testing.F) {
	f.Add("POST", "/api/v1/initialize", "nodejs-a")
	f.Add("GET", "/api/v1/functions/nodejs-a/versions?x", "")
	f.Add("GET", "/function/%", "")
	f.Add("POST", "/runtime/nodejs//", "rust-9")
	f.Fuzz(func(t *testing.T, method, path, title string) {
		var refusal *faas.Error
		if err := check(method, path, title); err != nil && (!errors.As(err, &refusal) || refusal.Code != faas.InvalidRequest) {
			t.Errorf("check(%q, %q, %q) = %v", method, path, title, err)
		}
		ref, err := faas.ParseRef(title)
		if err != nil {
			return
		}
		for _, path := range []string{
			initializePath, executePath, functionsPath + title, functionPath + title + "/x",
			runtimePath + string(ref.Name.Language) + "/" + strings.TrimPrefix(title, string(ref.Name.Language)+"-"),
		} {
			if err := check("POST", path, title); err != nil {
				t.Errorf("%q is refused at %s: %v", title, path, err)
			}
		}
	})
}
