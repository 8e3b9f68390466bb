package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"envoke/internal/faas"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clientOf is a client of a server that answers by the handler.
func clientOf(t *testing.T, handler http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	c, err := New(server.URL + "/") // a trailing slash is no fault
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// answer answers as an Envoke does.
func answer(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Request-ID", "rid")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// TestRequests: each call sends what the wire contract has.
func TestRequests(t *testing.T) {
	hello := Definition{Language: faas.NodeJS, Title: "hello", ScriptContent: "return '<&>'", Tags: []string{"a"}, TimeoutMS: 5}
	const helloJSON = `{"language":"nodejs","title":"hello","script_content":"return '<&>'","tags":["a"],"timeout_ms":5}`
	call := Call{Params: json.RawMessage("12345678901234567890"), Header: http.Header{"X-Cache-Control": {"no-cache"}}}
	for name, test := range map[string]struct {
		call func(context.Context, *Client) error
		want string // method, path, Language-Title and X-Cache-Control, body
	}{
		"invoke": {
			func(ctx context.Context, c *Client) error { _, err := c.Invoke(ctx, "nodejs-a", call); return err },
			`POST /api/v1/execute nodejs-a no-cache {"params":12345678901234567890}`,
		},
		"execute": {
			func(ctx context.Context, c *Client) error { _, err := c.Execute(ctx, "a/b", call); return err },
			`POST /api/v1/execute/a%2Fb  no-cache {"params":12345678901234567890}`,
		},
		"keys": {func(ctx context.Context, c *Client) error {
			_, err := c.Keys(ctx, faas.KeyQuery{UserID: "a b", Page: 2, PerPage: 3})
			return err
		}, "GET /api/v1/keys?page=2&per_page=3&user_id=a+b   "},
		"changes": {func(ctx context.Context, c *Client) error {
			since := time.Date(2025, 3, 1, 12, 30, 15, 500, time.UTC)
			_, err := c.Changes(ctx, faas.AuditQuery{UserID: "a b", Action: faas.KeyCreate, Target: "x", Since: since, Until: since, Page: 2, PerPage: 3})
			return err
		}, "GET /api/v1/audit?action=key.create&page=2&per_page=3&since=2025-03-01T12%3A30%3A15.0000005Z&target=x&until=2025-03-01T12%3A30%3A15.0000005Z&user=a+b   "},
		"all changes": {func(ctx context.Context, c *Client) error { _, err := c.Changes(ctx, faas.AuditQuery{}); return err }, "GET /api/v1/audit   "},
		"create key": {func(ctx context.Context, c *Client) error {
			_, err := c.CreateKey(ctx, KeyDefinition{Name: "n", UserID: "u", Scopes: []faas.Scope{faas.Admin}, ExpiresInSeconds: 5})
			return err
		}, `POST /api/v1/keys   {"name":"n","user_id":"u","scopes":["admin"],"expires_in_seconds":5}`},
		"revoke key":     {func(ctx context.Context, c *Client) error { return c.RevokeKey(ctx, "a/b") }, "DELETE /api/v1/keys/a%2Fb   "},
		"session":        {func(ctx context.Context, c *Client) error { _, err := c.Session(ctx, "s"); return err }, "GET /api/v1/sessions/s   "},
		"delete session": {func(ctx context.Context, c *Client) error { return c.DeleteSession(ctx, "s") }, "DELETE /api/v1/sessions/s   "},
		"list": {func(ctx context.Context, c *Client) error {
			_, err := c.Functions(ctx, faas.FunctionQuery{})
			return err
		}, "GET /api/v1/functions   "},
		"list by all": {func(ctx context.Context, c *Client) error {
			_, err := c.Functions(ctx, faas.FunctionQuery{Type: faas.Dynamic, Language: faas.Python, UserID: "u", Tag: "a b", Page: 2, PerPage: 3})
			return err
		}, "GET /api/v1/functions?language=python&page=2&per_page=3&tag=a+b&type=dynamic&user_id=u   "},
		"describe": {func(ctx context.Context, c *Client) error { _, err := c.Describe(ctx, "nodejs-a@3"); return err }, "GET /api/v1/functions/nodejs-a@3   "},
		"create":   {func(ctx context.Context, c *Client) error { _, err := c.Create(ctx, hello); return err }, "POST /api/v1/functions   " + helloJSON},
		"update":   {func(ctx context.Context, c *Client) error { _, err := c.Update(ctx, hello); return err }, "PUT /api/v1/functions/nodejs-hello   " + helloJSON},
		"aliases":  {func(ctx context.Context, c *Client) error { _, err := c.Aliases(ctx, "nodejs-a"); return err }, "GET /api/v1/functions/nodejs-a/aliases   "},
		"delete":   {func(ctx context.Context, c *Client) error { return c.Delete(ctx, "nodejs-a") }, "DELETE /api/v1/functions/nodejs-a   "},
		"versions": {func(ctx context.Context, c *Client) error { _, err := c.Versions(ctx, "nodejs-a"); return err }, "GET /api/v1/functions/nodejs-a/versions   "},
		"rollback": {func(ctx context.Context, c *Client) error { _, err := c.Rollback(ctx, "nodejs-a", 2); return err }, `POST /api/v1/functions/nodejs-a/rollback   {"version":2}`},
		"alias": {func(ctx context.Context, c *Client) error {
			return c.PutAlias(ctx, "nodejs-a", "stable", Alias{Version: 2, Weights: map[string]int{"3": 10}})
		}, `PUT /api/v1/functions/nodejs-a/aliases/stable   {"version":2,"weights":{"3":10}}`},
		"config":          {func(ctx context.Context, c *Client) error { _, err := c.Config(ctx); return err }, "GET /api/v1/config   "},
		"config versions": {func(ctx context.Context, c *Client) error { _, err := c.ConfigVersions(ctx); return err }, "GET /api/v1/config/versions   "},
		"config version":  {func(ctx context.Context, c *Client) error { _, err := c.ConfigVersion(ctx, 7); return err }, "GET /api/v1/config/versions/7   "},
		"config rollback": {func(ctx context.Context, c *Client) error { _, err := c.RollbackConfig(ctx, 7); return err }, `POST /api/v1/config/rollback   {"version":7}`},
		"try config":      {func(ctx context.Context, c *Client) error { _, err := c.TryConfig(ctx, []byte("a: b\n")); return err }, "PUT /api/v1/config?dry_run=true   a: b"},
		"put config": {func(ctx context.Context, c *Client) error {
			_, err := c.PutConfig(ctx, []byte("a: b\n"), 3)
			return err
		}, "PUT /api/v1/config?expected_version=3   a: b"},
		"delete alias": {func(ctx context.Context, c *Client) error { return c.DeleteAlias(ctx, "nodejs-a", "stable") }, "DELETE /api/v1/functions/nodejs-a/aliases/stable   "},
	} {
		t.Run(name, func(t *testing.T) {
			var got string
			c := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				got = fmt.Sprintf("%s %s %s %s %s", r.Method, r.RequestURI,
					r.Header.Get("Language-Title"), r.Header.Get("X-Cache-Control"), strings.TrimSpace(string(body)))
				answer(http.StatusOK, "{}")(w, r)
			})
			if err := test.call(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestKeyIsSent: with every request, forwarded ones too, but not in place of the request's own.
func TestKeyIsSent(t *testing.T) {
	for name, test := range map[string]struct {
		key  string
		call func(*Client)
		want string
	}{
		"none":      {"", func(c *Client) { _, _ = c.Describe(t.Context(), "a") }, ""},
		"a call":    {"k", func(c *Client) { _, _ = c.Describe(t.Context(), "a") }, "k"},
		"an invoke": {"k", func(c *Client) { _, _ = c.Invoke(t.Context(), "a", Call{Header: http.Header{"X-A": {"b"}}}) }, "k"},
		"its own":   {"k", func(c *Client) { _, _ = c.Invoke(t.Context(), "a", Call{Header: http.Header{"X-Api-Key": {"own"}}}) }, "own"},
		"forwarded": {"k", func(c *Client) {
			_, _ = c.Forward(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody), "a")
		}, "k"},
	} {
		got := "not asked"
		c := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
			got = r.Header.Get("X-API-Key")
			answer(http.StatusOK, "{}")(w, r)
		})
		c.UseKey(test.key)
		if test.call(c); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

func TestAnErrorOfTheServer(t *testing.T) {
	c := clientOf(t, answer(http.StatusInternalServerError,
		`{"error":{"code":"RUNTIME_ERROR","message":"oh","details":{"component":"function","line":3,"stack_trace":"at x"}},"request_id":"rid"}`))
	_, err := c.Invoke(t.Context(), "nodejs-a", Call{})
	var reply *ReplyError
	if !errors.As(err, &reply) {
		t.Fatalf("error %v", err)
	}
	want := &ReplyError{
		Status: 500, Code: faas.RuntimeError, Message: "oh", RequestID: "rid",
		Details: map[string]any{"component": "function", "line": 3.0, "stack_trace": "at x"},
	}
	if diff := cmp.Diff(want, reply); diff != "" {
		t.Error(diff)
	}
	if reply.Number("line") != 3 || reply.Text("stack_trace") != "at x" || reply.Number("stack_trace") != 0 || reply.Text("none") != "" {
		t.Error("details are not read as they are")
	}
	if got := err.Error(); got != "oh (RUNTIME_ERROR from function, request id rid)" {
		t.Errorf("it says %q", got)
	}
}

// TestWhatIsNoEnvoke: a server that does not answer as one is told from one.
func TestWhatIsNoEnvoke(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"a web page":        func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") },
		"another API":       func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") },
		"a redirect":        func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/login", http.StatusFound) },
		"not found":         http.NotFound,
		"a page with an id": answer(http.StatusOK, "<html>"),
		"another error":     answer(http.StatusNotFound, `{"error":"no"}`),
		"no body":           answer(http.StatusOK, ""),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := clientOf(t, handler).Describe(t.Context(), "nodejs-a")
			var foreign *ForeignError
			if !errors.As(err, &foreign) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestNobodyAnswers(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	base := "http://" + listener.Addr().String()
	listener.Close()
	c, err := New(base)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Describe(t.Context(), "nodejs-a")
	var away *UnreachableError
	want := "no Envoke answers at " + base + ": start one with `envoke serve`, or set --address / ENVOKE_URL"
	if !errors.As(err, &away) || err.Error() != want {
		t.Errorf("error %v", err)
	}
	_, err = Logs(t.Context(), base, faas.RequestLogQuery{})
	var operators *OperatorsError
	if !errors.As(err, &operators) {
		t.Errorf("logs: %v", err)
	}
}

func TestASlowServer(t *testing.T) {
	release := make(chan struct{})
	c := clientOf(t, func(http.ResponseWriter, *http.Request) { <-release })
	defer close(release)
	c.http.Timeout = 1 // ns
	_, err := c.Describe(t.Context(), "nodejs-a")
	var away *UnreachableError
	if !errors.As(err, &away) || !away.Slow {
		t.Errorf("error %v", err)
	}
}

func TestACancelledCallSaysSo(t *testing.T) {
	c := clientOf(t, answer(http.StatusOK, "{}"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Describe(ctx, "nodejs-a"); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestAddresses(t *testing.T) {
	for address, ok := range map[string]bool{
		"http://127.0.0.1:9000": true, "https://envoke.example/": true, "http://[::1]:9000": true,
		"127.0.0.1:9000": false, "localhost": false, "": false, "unix:/x": false, "http://": false, "http://a b": false,
	} {
		if _, err := New(address); (err == nil) != ok {
			t.Errorf("%q: %v", address, err)
		}
	}
}

// FuzzReply: whatever a server answers is an error or a value, never a panic.
func FuzzReply(f *testing.F) {
	f.Add(500, []byte(`{"error":{"code":"X","message":"y","details":{"line":1e99}}}`))
	f.Add(200, []byte(`{"result":[`))
	f.Add(404, []byte(`{"error":null}`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		if status < 200 || status > 599 {
			return
		}
		recorder := httptest.NewRecorder()
		recorder.Header().Set("X-Request-ID", "rid")
		recorder.WriteHeader(status)
		c := &Client{base: "http://x", http: &http.Client{Transport: always{recorder.Result(), body}}}
		_, err := c.Invoke(t.Context(), "nodejs-a", Call{})
		var reply *ReplyError
		if errors.As(err, &reply) {
			_, _ = reply.Number("line"), err.Error()
		}
		if status/100 != 2 && err == nil {
			t.Fatalf("%d is no error", status)
		}
	})
}

// always answers with the same.
type always struct {
	reply *http.Response
	body  []byte
}

func (a always) RoundTrip(*http.Request) (*http.Response, error) {
	a.reply.Body = io.NopCloser(strings.NewReader(string(a.body)))
	return a.reply, nil
}
