package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"envoke/internal/api"
	"envoke/internal/faas"
	"envoke/internal/sqlite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is the API on a real store.
type rig struct {
	*testing.T
	store    *sqlite.Store
	options  api.Options
	log      strings.Builder
	runtimes map[faas.Language]string
	changed  []string // names of which hosts were told
	failed   []string // ids and codes of failed requests
}

func newRig(t *testing.T) *rig {
	t.Helper()
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "envoke.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	r := &rig{T: t, store: store, runtimes: map[faas.Language]string{faas.NodeJS: "ok"}}
	r.options = api.Options{
		Store: store, Key: faas.NewSessionKey(), Revoke: store.DeleteSession, Version: "1.2.3",
		Runtimes:  func(context.Context) map[faas.Language]string { return r.runtimes },
		Changed:   func(_ context.Context, name faas.Name) { r.changed = append(r.changed, name.String()) },
		Select:    faas.ParseRefIn,
		Check:     func(context.Context, string, faas.Function, *faas.Resolved) error { return nil },
		Secrets:   newSecrets(t, store),
		MaxScript: 1 << 10, MaxModule: 64 << 10,
		Failed: func(f faas.Failure) { r.failed = append(r.failed, f.RequestID+" "+string(f.Code)) },
		Logger: slog.New(slog.NewTextHandler(&r.log, nil)),
	}
	return r
}

// request sends a request with the id "rid" and decodes the reply's JSON.
func (r *rig) request(method, path string) (status int, body any, header http.Header) {
	r.Helper()
	return r.send(method, path, "")
}

// send is a request with a body.
func (r *rig) send(method, path, content string) (status int, body any, header http.Header) {
	r.Helper()
	request := httptest.NewRequestWithContext(r.Context(), method, path, strings.NewReader(content))
	request.Header.Set("X-Request-ID", "rid")
	recorder := httptest.NewRecorder()
	api.New(r.options).ServeHTTP(recorder, request)
	if recorder.Body.Len() > 0 {
		if got := recorder.Header().Get("Content-Type"); got != "application/json" {
			r.Errorf("%s %s: content type %q", method, path, got)
		}
		if err := json.Unmarshal(recorder.Body.Bytes(), &body); err != nil {
			r.Errorf("%s %s: %v in %s", method, path, err, recorder.Body)
		}
	}
	return recorder.Code, body, recorder.Header()
}

// wantReply checks a reply against the JSON wanted; "" wants no body.
func (r *rig) wantReply(method, path string, status int, want string) {
	r.Helper()
	r.wantReplyTo(method, path, "", status, want)
}

func (r *rig) wantReplyTo(method, path, content string, status int, want string) {
	r.Helper()
	gotStatus, got, _ := r.send(method, path, content)
	var wanted any
	if want != "" {
		if err := json.Unmarshal([]byte(want), &wanted); err != nil {
			r.Fatal(err)
		}
	}
	if diff := cmp.Diff(wanted, got); diff != "" || gotStatus != status {
		r.Errorf("%s %s: status %d, want %d; body (-want +got):\n%s", method, path, gotStatus, status, diff)
	}
}

// wantError checks a failure's code, and that its message names something.
func (r *rig) wantError(method, path string, code faas.Code, names string) {
	r.Helper()
	r.wantErrorTo(method, path, "", code, names)
}

func (r *rig) wantErrorTo(method, path, content string, code faas.Code, names string) {
	r.Helper()
	status := (&faas.Error{Code: code}).HTTPStatus()
	gotStatus, body, _ := r.send(method, path, content)
	text, _ := json.Marshal(body)
	var reply struct {
		Error struct {
			Code    faas.Code
			Message string
			Details struct{ Component string }
		}
		RequestID string `json:"request_id"`
	}
	if err := json.Unmarshal(text, &reply); err != nil {
		r.Fatal(err)
	}
	e := reply.Error
	if gotStatus != status || e.Code != code || !strings.Contains(e.Message, names) || e.Details.Component != "control" || reply.RequestID != "rid" {
		r.Errorf("%s %s %.100s: %d %s, want %d %s naming %q", method, path, content, gotStatus, text, status, code, names)
	}
}

func (r *rig) create(title string, change func(*faas.Session)) faas.Session {
	r.Helper()
	script := faas.NewScript(faas.NodeJS, "return 1", nil)
	session := faas.Session{
		ID: r.options.Key.NewID(faas.NodeJS, true), Name: faas.Name{Language: faas.NodeJS, Title: title}, Digest: script.Digest,
		CreatedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour), Status: faas.Active,
	}
	if change != nil {
		change(&session)
	}
	if err := r.store.CreateSession(r.Context(), session, &script); err != nil {
		r.Fatal(err)
	}
	return session
}

func TestShowSession(t *testing.T) {
	r := newRig(t)
	created := time.Date(2025, 1, 2, 4, 4, 5, 600000000, time.FixedZone("", 3600))
	session := r.create("t", func(s *faas.Session) { s.CreatedAt, s.ExpiresAt = created, created.Add(time.Hour) })
	format := `{"request_id": %q, "language_title": "nodejs-t", "created_at": "2025-01-02T03:04:05.6Z",
		"expires_at": "2025-01-02T04:04:05.6Z", "last_executed_at": %s, "execution_count": %d, "status": "expired", "compile_status": null,
		"compile_step": null, "compile_since": null, "compile_error": null}`
	path := "/api/v1/sessions/" + string(session.ID)
	r.wantReply("GET", path, 200, fmt.Sprintf(format, session.ID, "null", 0))
	r.wantReply("GET", path+"?x=1", 200, fmt.Sprintf(format, session.ID, "null", 0))

	err := r.store.AppendRequestLogs(t.Context(), "f", 1, []faas.RequestLog{{
		Operation: faas.Execute, SessionID: session.ID, StatusCode: 200, StartedAt: created,
	}})
	if err != nil {
		t.Fatal(err)
	}
	r.wantReply("GET", path, 200, fmt.Sprintf(format, session.ID, `"2025-01-02T03:04:05.6Z"`, 1))

	live := r.create("live", func(s *faas.Session) { s.CompileStatus = faas.CompileSuccess })
	_, body, _ := r.request("GET", "/api/v1/sessions/"+string(live.ID))
	got := body.(map[string]any)
	if got["status"] != "active" || got["compile_status"] != "success" {
		t.Errorf("a live session is %v", got)
	}
}

func TestDeleteSession(t *testing.T) {
	r := newRig(t)
	path := "/api/v1/sessions/" + string(r.create("t", nil).ID)
	r.wantReply("DELETE", path, 204, "")
	r.wantError("DELETE", path, faas.NotFound, "no such session")
	r.wantError("GET", path, faas.NotFound, "no such session")
}

// TestForgedIDs: an id that this installation did not make costs no look-up.
func TestForgedIDs(t *testing.T) {
	r := newRig(t)
	session := r.create("t", nil)
	r.options.Store = nil // a look-up would panic
	r.options.Revoke = nil
	last := "0"
	if strings.HasSuffix(string(session.ID), last) {
		last = "1"
	}
	for name, id := range map[string]string{
		"malformed":      "x",
		"another UUID":   "0a1b2c3d-0000-4110-8000-000000000000",
		"one digit off":  string(session.ID)[:35] + last,
		"another key's":  string(faas.NewSessionKey().NewID(faas.NodeJS, true)),
		"upper case":     strings.ToUpper(string(session.ID)),
		"quoted":         "%27%20OR%201=1",
		"with its slash": string(session.ID) + "%2F",
		"no text":        "%ff%00",
	} {
		for _, method := range []string{"GET", "DELETE"} {
			r.wantError(method, "/api/v1/sessions/"+id, faas.NotFound, "no such session")
		}
		if t.Failed() {
			t.Fatal(name)
		}
	}
}

func TestFunctions(t *testing.T) {
	r := newRig(t)
	r.wantReply("GET", "/api/v1/functions", 200, `{"functions": [], "total": 0, "page": 1, "per_page": 20}`)
	full := faas.Function{
		Name: faas.Name{Language: faas.NodeJS, Title: "full"}, Description: "<described>", UserID: "ada", Tags: []string{"math"},
		Script: faas.NewScript(faas.NodeJS, "return '<secret>'", json.RawMessage(`{"target": "x"}`)),
		Schema: json.RawMessage(`{"type": "object"}`), Examples: json.RawMessage(`[1]`),
		Timeout: 1500 * time.Millisecond, CacheTTL: time.Minute, MemoryMB: 64, Network: faas.Egress,
		Limits:      faas.Limits{CPU: 700 * time.Millisecond, Output: 1000, Concurrency: 2, Rate: 30},
		Environment: faas.Environment{"A": {Text: "a text"}, "B": {Secret: "S"}},
	}
	bare := faas.Function{Name: faas.Name{Language: faas.Python, Title: "bare"}, Script: faas.NewScript(faas.Python, "x", nil)}
	for _, f := range []faas.Function{bare, full} {
		if _, err := r.store.CreateFunction(t.Context(), faas.Actor{}, f); err != nil {
			t.Fatal(err)
		}
	}
	r.create("own", nil)

	fullItem := `"language": "nodejs", "title": "full", "language_title": "nodejs-full", "description": "<described>",
		"type": "predefined", "user_id": "ada", "version": 1, "tags": ["math"], ` + r.times("nodejs-full")
	bareItem := `"language": "python", "title": "bare", "language_title": "python-bare", "description": "",
		"type": "predefined", "user_id": null, "version": 1, "tags": [], ` + r.times("python-bare")
	r.wantReply("GET", "/api/v1/functions?type=predefined", 200,
		`{"functions": [{`+fullItem+`}, {`+bareItem+`}], "total": 2, "page": 1, "per_page": 20}`)
	r.wantReply("GET", "/api/v1/functions?type=predefined&page=2&per_page=1", 200,
		`{"functions": [{`+bareItem+`}], "total": 2, "page": 2, "per_page": 1}`)
	r.wantReply("GET", "/api/v1/functions?language=nodejs&tag=math&user_id=ada", 200,
		`{"functions": [{`+fullItem+`}], "total": 1, "page": 1, "per_page": 20}`)
	r.wantReply("GET", "/api/v1/functions/nodejs-full", 200,
		`{`+fullItem+`, "schema": {"type": "object"}, "examples": [1], "compile_options": {"target": "x"}, "script_content": "return '<secret>'",
			"timeout_ms": 1500, "memory_limit_mb": 64, "cpu_limit_ms": 700, "output_limit_bytes": 1000, "max_concurrency": 2, "rate_per_minute": 30, "cache_ttl_seconds": 60, "network": "egress", "dependencies": null,
			"environment": {"A": null, "B": {"secret": "S"}}}`)
	r.wantReply("GET", "/api/v1/functions/python-bare", 200,
		`{`+bareItem+`, "schema": null, "examples": null, "compile_options": null, "script_content": "x",
			"timeout_ms": null, "memory_limit_mb": null, "cpu_limit_ms": null, "output_limit_bytes": null, "max_concurrency": null, "rate_per_minute": null, "cache_ttl_seconds": null, "network": "none", "dependencies": null, "environment": {}}`)

	_, body, _ := r.request("GET", "/api/v1/functions?type=dynamic")
	items := body.(map[string]any)["functions"].([]any)
	if len(items) != 1 || items[0].(map[string]any)["language_title"] != "nodejs-own" || items[0].(map[string]any)["version"] != nil {
		t.Errorf("dynamic functions are %v", items)
	}
	r.wantError("GET", "/api/v1/functions/nodejs-own", faas.NotFound, "nodejs-own")
}

// times are the members of a function's JSON that the store gave.
func (r *rig) times(name string) string {
	r.Helper()
	parsed, err := faas.ParseRef(name)
	if err != nil {
		r.Fatal(err)
	}
	f, err := r.store.FindFunction(r.Context(), parsed)
	if err != nil {
		r.Fatal(err)
	}
	at := f.CreatedAt.Format(time.RFC3339Nano)
	return fmt.Sprintf(`"created_at": %q, "last_updated_at": %q`, at, at)
}

func TestBadRequests(t *testing.T) {
	r := newRig(t)
	for query, names := range map[string]string{
		"page=0": "page", "page=-1": "page", "page=x": "page", "page=": "page", "page=1.5": "page", "page=1000001": "page",
		"page=99999999999999999999": "page", "page=1&page=2": "page", "per_page=0": "per_page", "per_page=101": "per_page",
		"language=cobol": "language", "language=": "language", "language=NODEJS": "language", "type=static": "type",
		"tag=a&tag=b": "tag", "user_id=%ff": "user_id", "tag=" + strings.Repeat("x", 257): "tag", "tag=a%00": "tag",
		"page=%zz": "query", "a;b": "query", "lang=nodejs": "lang", "page=1&x=": "x", "=1": "",
	} {
		r.wantError("GET", "/api/v1/functions?"+query, faas.InvalidRequest, names)
	}
	for path, code := range map[string]faas.Code{
		"/api/v1/functions/cobol-x":       faas.InvalidRequest,
		"/api/v1/functions/nodejs-..%2Fx": faas.InvalidRequest,
		"/api/v1/functions/nodejs-x":      faas.NotFound,
		"/api/v1/functions/nodejs-x@0":    faas.InvalidRequest,
		"/api/v1/functions/nodejs-x@1":    faas.NotFound,
		"/api/v1/functions/nodejs-x:1":    faas.InvalidRequest,
		"/api/v1/functions/nodejs-x:a":    faas.NotFound,
		"/api/v1/functions/nodejs-x/y":    faas.NotFound,
		"/api/v1/functions/":              faas.NotFound,
		"/api/v1/sessions/":               faas.NotFound,
		"/api/v1/sessions/a/b":            faas.NotFound,
		"/":                               faas.NotFound,
	} {
		r.wantError("GET", path, code, "")
	}
}

func TestMethods(t *testing.T) {
	r := newRig(t)
	for path, allow := range map[string]string{
		"/health": "GET, HEAD", "/api/v1/sessions/x": "GET, HEAD, DELETE",
		"/api/v1/functions": "GET, HEAD, POST", "/api/v1/functions/nodejs-x": "GET, HEAD, PUT, DELETE",
		"/api/v1/functions/nodejs-x/versions": "GET, HEAD", "/api/v1/functions/nodejs-x/rollback": "POST",
		"/api/v1/functions/nodejs-x/aliases": "GET, HEAD", "/api/v1/functions/nodejs-x/aliases/a": "PUT, DELETE",
	} {
		status, body, header := r.request("PATCH", path)
		if status != 405 || header.Get("Allow") != allow || !strings.Contains(fmt.Sprint(body), string(faas.InvalidRequest)) {
			t.Errorf("%s: %d %v, Allow %q, want %q", path, status, body, header.Get("Allow"), allow)
		}
	}
	if status, _, _ := r.request("HEAD", "/health"); status != 200 {
		t.Errorf("HEAD /health: status %d", status)
	}
}

// TestInternalErrors: the caller reads nothing internal, the log has it by the
// request's id.
func TestInternalErrors(t *testing.T) {
	for name, test := range map[string]struct {
		revoke func(context.Context, faas.Actor, faas.SessionID) error
		status int
		code   faas.Code
	}{
		"error": {func(context.Context, faas.Actor, faas.SessionID) error { return errors.New("secret reason") }, 500, faas.InternalError},
		"panic": {func(context.Context, faas.Actor, faas.SessionID) error { panic("secret reason") }, 500, faas.InternalError},
		"away": {func(context.Context, faas.Actor, faas.SessionID) error {
			return &faas.Error{Code: faas.Unavailable, Message: "away", Err: errors.New("secret reason")}
		}, 503, faas.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.options.Revoke = test.revoke
			path := "/api/v1/sessions/" + string(r.options.Key.NewID(faas.NodeJS, true))
			status, body, _ := r.request("DELETE", path)
			if text := fmt.Sprint(body); status != test.status || strings.Contains(text, "secret") || !strings.Contains(text, string(test.code)) {
				t.Errorf("%d %s", status, text)
			}
			if log := r.log.String(); !strings.Contains(log, "secret reason") || !strings.Contains(log, "request_id=rid") {
				t.Errorf("the log has %q", log)
			}
			if diff := cmp.Diff([]string{"rid " + string(test.code)}, r.failed); diff != "" {
				t.Errorf("operators are told %s", diff)
			}
		})
	}
}
