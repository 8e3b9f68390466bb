package cli

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

const applied = `{"version":4,"dry_run":false,"changes":[]}`

// TestConfigApply: it ends when Envoy has said what becomes of it, and says so.
func TestConfigApply(t *testing.T) {
	shown := func(version, taken int, status, message string) string {
		return fmt.Sprintf(`{"version":%d,"document":"{}","taken_version":%d,"status":%q,"message":%s,"sources":[]}`, version, taken, status, message)
	}
	for name, test := range map[string]struct {
		replies []string // of GET, one after the other
		args    string
		code    int
		want    string // on standard error or in the error
	}{
		"at once live":       {[]string{shown(4, 4, "live", "null")}, "", 0, "version 4 is live"},
		"live after a while": {[]string{shown(4, 3, "pending", "null"), shown(4, 4, "pending", "null"), shown(4, 4, "live", "null")}, "", 0, "version 4 is live"},
		"refused":            {[]string{shown(4, 4, "pending", "null"), shown(4, 4, "refused", `"Envoy has refused a route: bad \u001b[2Jregex"`)}, "", exitFailed, "version 4 is refused, and what was live before goes on: Envoy has refused a route: bad  [2Jregex"},
		"refused before":     {[]string{shown(4, 3, "refused", `"of version 3"`), shown(4, 4, "live", "null")}, "", 0, "version 4 is live"},
		"replaced":           {[]string{shown(5, 5, "live", "null")}, "", exitFailed, "version 5 was applied meanwhile"},
		"never":              {[]string{shown(4, 4, "pending", "null")}, "--timeout 300ms", exitFailed, "has not said within 300ms"},
		"without a wait":     {nil, "--timeout 0", 0, "version 4 is applied"},
	} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			server := serve(t, func(w http.ResponseWriter, r *http.Request) bool {
				body := applied
				if r.Method == http.MethodGet {
					body = test.replies[min(asked, len(test.replies)-1)]
					asked++
				}
				fmt.Fprint(w, body)
				return true
			})
			got := run(t, server.URL, "", append([]string{"config", "apply", "testdata/routes.yaml"}, strings.Fields(test.args)...)...)
			text := got.stderr
			if got.err != nil {
				text += got.err.Error()
			}
			if code := ExitCode(got.err); code != test.code || !strings.Contains(text, test.want) {
				t.Errorf("exit code %d, %s; want %d and %q", code, text, test.code, test.want)
			}
			if !strings.Contains(server.requests[1], "?expected_version=4") {
				t.Errorf("it does not say which version it changes: %q", server.requests[1])
			}
		})
	}
}

// TestConfigFaults: those of the file are told by its name, whoever finds them.
func TestConfigFaults(t *testing.T) {
	file := filepath.Join(folder(t, "routes.yaml", "routes:\n- name: a\n  rules: [{}]\n- {nam: b}\n"), "routes.yaml")
	server := serve(t, func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"error":{"code":"INVALID_REQUEST","message":"the config has a fault","details":{"component":"control","faults":[{"line":2,"column":9,"field":"upstreams[0]","message":"has a file\u001b[2J that is not there"}]}},"request_id":"rid"}`)
		return true
	})
	for _, command := range []string{"validate", "diff", "apply"} {
		got := run(t, server.URL, "", "config", command, file)
		if ExitCode(got.err) != exitFailed || !strings.Contains(got.stderr, file+":4:3: routes[1].name: is missing\n"+file+":4:3: routes[1].rules: is missing") || len(server.requests) != 0 {
			t.Errorf("%s: %v\n%s\n%v", command, got.err, got.stderr, server.requests)
		}
		if command == "validate" {
			continue
		}
		got = run(t, server.URL, "", "config", command, "testdata/routes.yaml")
		if want := "testdata/routes.yaml:2:9: upstreams[0]: has a file [2J that is not there\n"; got.stderr != want || ExitCode(got.err) != exitFailed {
			t.Errorf("%s: %v\n%s", command, got.err, got.stderr)
		}
		server.requests = nil
	}
	if got := run(t, server.URL, "routes: {}\n", "config", "diff", "-"); !strings.Contains(got.stderr, "standard input:1:9: routes: must be a list") {
		t.Errorf("of standard input: %+v", got)
	}
}
