package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"envoke/internal/testrig"
)

func TestServerTiming(t *testing.T) {
	i := shared(t)
	const called = "proxy host queue function"
	script := `{"script_content":"if (event.params) throw new Error('no'); return 1"`
	session := "/api/v1/execute/" + i.initialize(t, "if (event.params) throw new Error('no'); return 1")
	for _, test := range []struct {
		name, path, body string
		status           int
		want             string
	}{
		{"initialize", "/api/v1/initialize", script + "}", 200, "proxy host load"},
		{"one-shot", "/api/v1/execute", script + "}", 200, "proxy host load queue function"},
		{"execute", session, "", 200, called},
		{"execute that throws", session, `{"params":1}`, 500, called},
		{"by path", "/runtime/nodejs/calculator", `{"params":{"operation":"add","a":1,"b":2}}`, 200, called},
		{"plain HTTP", "/function/nodejs-calculator", `{"operation":"add","a":1,"b":2}`, 200, called},
		{"WebAssembly", "/runtime/rust/data_validator", `{"params":{"data":{},"rules":{}}}`, 200, called},
	} {
		start := time.Now()
		r := i.send(t, http.MethodPost, test.path, test.body, "Language-Title", "nodejs-timing", "X-Envoke-Start", "1")
		took := time.Since(start)
		if r.status != test.status {
			t.Errorf("%s: %d %s", test.name, r.status, r.body)
			continue
		}
		names, sum := testrig.ServerTiming(t, r.header)
		if names != test.want || sum <= 0 || sum > took {
			t.Errorf("%s: %v in %s, of %v; want %s", test.name, sum, names, took, test.want)
		}
		_, function, _ := strings.Cut(r.header.Get("Server-Timing"), "function;dur=")
		if test.status == 200 && function != "" && !strings.HasPrefix(test.name, "plain") &&
			!strings.Contains(string(r.body), fmt.Sprintf(`"execution_time_ms":%s,`, function)) {
			t.Errorf("%s: %s ms in the function are told, and %s", test.name, function, r.body)
		}
	}
}

// A cached answer tells who gave it, and nothing of the run that it is of.
func TestServerTimingOfCachedAnswers(t *testing.T) {
	bothWays(t, func(t *testing.T, i *installation) {
		name := i.defineCached(t, title(t), "return {statusCode: 200, headers: {'server-timing': 'db;dur=1.5'}}", 60)
		session := i.open(t, name)
		by := map[bool]string{true: "filter", false: "ext_proc"}[i != extProcOnly.installation]
		for what, call := range map[string]func() reply{
			"envelope":   func() reply { return i.execute(t, session, "1") },
			"plain HTTP": func() reply { return i.send(t, http.MethodGet, "/function/"+name, "") },
		} {
			if names, _ := testrig.ServerTiming(t, call().header); names != "proxy host queue function" {
				t.Errorf("%s, the first: %s", what, names)
			}
			want := fmt.Sprintf("[cache;desc=%q]", by)
			testrig.Succeeds(t, func() error { // the filter forgets within a second
				if got := fmt.Sprint(call().header.Values("Server-Timing")); got != want {
					return fmt.Errorf("%s, again: %s, want %s", what, got, want)
				}
				return nil
			})
		}
	})
}
