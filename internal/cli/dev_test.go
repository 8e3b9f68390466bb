package cli

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"envoke/internal/client"
	"envoke/internal/faas"
)

// develop loads a file on a server.
func develop(t *testing.T, server *recorded, code string) (d *developed, shown *bytes.Buffer) {
	t.Helper()
	c, err := client.New(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	path := filepath.Join(t.TempDir(), "a.js")
	write(t, path, code)
	shown = &bytes.Buffer{}
	d = &developed{path: path, name: developedName(faas.Name{Language: faas.NodeJS, Title: "a"}), server: c, out: &screen{w: shown}}
	if err := d.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	return d, shown
}

// TestDevForwards: requests reach the function as they are, and so do its responses
// who asked. Errors of the Envoke's are shown with their place in the code.
func TestDevForwards(t *testing.T) {
	server := serve(t, func(w http.ResponseWriter, r *http.Request) bool {
		switch _, path, _ := strings.Cut(r.URL.Path, "/function/nodejs-a-dev-"); path[min(len(path), 8):] {
		case "":
			return false
		case "/throw":
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = io.WriteString(w, `{"error":{"code":"RUNTIME_ERROR","message":"oh","details":{"line":1}},"request_id":"rid"}`)
		case "/own":
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusConflict)
			_, _ = io.WriteString(w, `{"error":{"code":"MINE","message":"mine"},"request_id":"another"}`)
		case "/foreign":
			w.Header().Del("X-Request-ID")
		default:
			w.Header()["Set-Cookie"] = []string{"a=1", "b=2"}
			w.WriteHeader(http.StatusTeapot)
			fmt.Fprint(w, "tea", r.Header["X-A"], r.Header["Accept-Encoding"])
		}
		return true
	})
	d, shown := develop(t, server, "throw new Error('oh')")
	for _, test := range []struct {
		method, target, body string
		request              string // below the function, with its body
		status               int
		response, shown      string
	}{
		{"BREW", "/a%2Fb//c/?x=%ff&x&y;z", "42", "/a%2Fb//c/?x=%ff&x&y;z 42", 418, "tea[1 2] []", "BREW /a%2Fb//c/?x=%ff&x&y;z  418  0 ms\n"},
		{"GET", "/", "", "/", 418, "tea[1 2] []", "GET /  418  0 ms\n"},
		{
			"GET", "/throw", "", "/throw", 500, `{"error":{"code":"RUNTIME_ERROR","message":"oh","details":{"line":1}},"request_id":"rid"}`,
			"✗ oh (RUNTIME_ERROR, request id rid)\n\n  a.js:1:0\n    1 | throw new Error('oh')\nGET /throw  500  0 ms\n",
		},
		{"GET", "/own", "", "/own", 409, `{"error":{"code":"MINE","message":"mine"},"request_id":"another"}`, "GET /own  409  0 ms\n"},
		{
			"GET", "/foreign", "", "/foreign", 503,
			`{"error":{"code":"UNAVAILABLE","message":"what answers at BASE (200 OK) is no Envoke: set --address / ENVOKE_URL","details":{"component":"runtime"}},"request_id":""}`,
			"✗ what answers at BASE (200 OK) is no Envoke: set --address / ENVOKE_URL\nGET /foreign  503  0 ms\n",
		},
	} {
		t.Run(test.method+" "+test.target, func(t *testing.T) {
			shown.Reset()
			r := httptest.NewRequestWithContext(t.Context(), test.method, test.target, strings.NewReader(test.body))
			r.Header["X-A"] = []string{"1", "2"}
			w := httptest.NewRecorder()
			d.ServeHTTP(w, r)
			request := server.requests[len(server.requests)-1]
			if diff := cmp.Diff(fmt.Sprintf("%s /function/%s%s", test.method, d.name, test.request), request); diff != "" {
				t.Error(diff)
			}
			if got := strings.ReplaceAll(w.Body.String(), server.URL, "BASE"); w.Code != test.status || got != test.response {
				t.Errorf("got %d %s", w.Code, got)
			}
			if w.Code == http.StatusTeapot && len(w.Result().Cookies()) != 2 {
				t.Errorf("headers %v", w.Header())
			}
			said := strings.NewReplacer(server.URL, "BASE", filepath.Dir(d.path)+"/", "").Replace(shown.String())
			if diff := cmp.Diff(test.shown, regexp.MustCompile(`\d+ ms`).ReplaceAllString(said, "0 ms")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestDevCleansUp: the function on another's server is deleted, and one whose code
// never loaded was never there.
func TestDevCleansUp(t *testing.T) {
	server := serve(t, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodDelete {
			w.WriteHeader(http.StatusNoContent)
		}
		return r.Method == http.MethodDelete
	})
	d, shown := develop(t, server, "return 1")
	d.drop(t.Context())
	if got := server.requests[len(server.requests)-1]; got != "DELETE /api/v1/functions/"+d.name.String() || shown.Len() > 0 {
		t.Errorf("got %s, and it says %s", got, shown)
	}
	asked := len(server.requests)
	(&developed{server: d.server}).drop(t.Context())
	if len(server.requests) != asked {
		t.Errorf("got %q", server.requests)
	}
}

func TestDevelopedName(t *testing.T) {
	long := faas.Name{Language: faas.NodeJS, Title: strings.Repeat("x", faas.MaxTitle)}
	name := developedName(long)
	if _, err := faas.ParseName(name.String()); err != nil {
		t.Error(err)
	}
	if name == developedName(long) {
		t.Error("two have one name")
	}
}

func TestDevWhoseEnvokeDoesNotStart(t *testing.T) {
	got := run(t, "", "", "dev", "testdata/hello.js", "--port", "0")
	if got.err == nil || !strings.Contains(got.err.Error(), "no Envoke starts") || ExitCode(got.err) != exitFailed {
		t.Errorf("error %v", got.err)
	}
}
