package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"envoke/internal/client"
)

func TestRequestsBecomeParams(t *testing.T) {
	for name, test := range map[string]struct{ target, body, want string }{
		"JSON":            {"/", `{"a":12345678901234567890}`, `{"a":12345678901234567890}`},
		"text":            {"/", "hello", `"hello"`},
		"a query":         {"/?a=1&b=x&b=y", "", `{"a":"1","b":["x","y"]}`},
		"nothing":         {"/any/path", "", `{}`},
		"body over query": {"/?a=1", "[]", `[]`},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, test.target, strings.NewReader(test.body))
			got, err := paramsOf(httptest.NewRecorder(), r)
			if diff := cmp.Diff(test.want, string(got)); diff != "" || err != nil {
				t.Error(err, diff)
			}
		})
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(strings.Repeat("x", maxBody+1)))
	_, err := paramsOf(httptest.NewRecorder(), r)
	if status, _ := failureBody(err); status != http.StatusRequestEntityTooLarge {
		t.Errorf("a body over the limit is %d", status)
	}
}

// TestDevAfterItsSessionIsGone: sessions expire, and servers are restarted.
func TestDevAfterItsSessionIsGone(t *testing.T) {
	var sessions atomic.Int32
	server := serve(t, func(w http.ResponseWriter, r *http.Request) bool {
		live := fmt.Sprintf("/api/v1/execute/%d", sessions.Load())
		switch {
		case r.URL.Path == "/api/v1/initialize":
			fmt.Fprintf(w, `{"request_id":"%d"}`, sessions.Add(1))
		case r.URL.Path == live && r.Method == http.MethodPost:
			_, _ = io.WriteString(w, `{"result":"ran"}`)
		case r.Method == http.MethodDelete:
			w.WriteHeader(http.StatusNoContent)
		default:
			fail(w, http.StatusNotFound, "NOT_FOUND", "no such session")
		}
		return true
	})
	c, err := client.New(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	path := filepath.Join(t.TempDir(), "a.js")
	write(t, path, "return 1")
	d := &developed{path: path, server: c, out: &screen{w: io.Discard}}
	if err := d.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	sessions.Add(1) // the server has forgotten it
	got, err := d.execute(t.Context(), client.Call{Params: json.RawMessage("{}")})
	if err != nil || string(got.Result) != `"ran"` {
		t.Fatalf("%s, %v", got.Result, err)
	}
	if d.session() != "3" {
		t.Errorf("the session is %s", d.session())
	}
}

func TestDevWhoseEnvokeDoesNotStart(t *testing.T) {
	got := run(t, "", "", "dev", "testdata/hello.js", "--port", "0")
	if got.err == nil || !strings.Contains(got.err.Error(), "no Envoke starts") || ExitCode(got.err) != exitFailed {
		t.Errorf("error %v", got.err)
	}
}
