package xds

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"envoke/internal/envoytest"
	"envoke/internal/faas"
)

type errorBody struct {
	Error struct {
		Code    faas.Code `json:"code"`
		Message string    `json:"message"`
		Details struct {
			Component faas.Component `json:"component"`
		} `json:"details"`
	} `json:"error"`
	RequestID string `json:"request_id"`
}

func errorOf(t *testing.T, reply envoytest.Reply) (body errorBody) {
	t.Helper()
	if err := json.Unmarshal(reply.Body, &body); err != nil {
		t.Fatalf("status %d, body %.300q: %v", reply.Status, reply.Body, err)
	}
	return body
}

// wantError checks all that the API promises of an error.
func wantError(t *testing.T, reply envoytest.Reply, status int, code faas.Code, component faas.Component) {
	t.Helper()
	got := errorOf(t, reply)
	if reply.Status != status || got.Error.Code != code || got.Error.Details.Component != component {
		t.Errorf("got %d %s from %q, want %d %s from %q", reply.Status, got.Error.Code,
			got.Error.Details.Component, status, code, component)
	}
	if got.Error.Message == "" || got.RequestID == "" || got.RequestID != reply.Header.Get("X-Request-ID") {
		t.Errorf("message %q, request_id %q, header %q", got.Error.Message, got.RequestID, reply.Header.Get("X-Request-ID"))
	}
	if kind := reply.Header.Get("Content-Type"); kind != "application/json" {
		t.Errorf("content type %q", kind)
	}
	for _, leak := range []string{".sock", "secret", "127.0.0.1", "ext_proc", "upstream", "gRPC"} {
		if strings.Contains(string(reply.Body), leak) {
			t.Errorf("the body leaks %q: %s", leak, reply.Body)
		}
	}
}

// TestLocalReplies makes Envoy fail in each way that it can.
func TestLocalReplies(t *testing.T) {
	s := newStack(t, func(s *State) {
		s.MaxTimeout = 100 * time.Millisecond
		s.Listener.RequestTimeout = 300 * time.Millisecond
		s.Listener.HeadersTimeout = 300 * time.Millisecond
		dir := filepath.Dir(s.ExtProcPath)
		s.Runtimes = append(s.Runtimes,
			Runtime{Language: faas.Python},
			Runtime{Language: faas.Rust, Endpoints: []Endpoint{{Path: filepath.Join(dir, "gone.sock")}}})
	})
	key := faas.NewSessionKey()
	plain := func(language faas.Language) string {
		return executePath + "/" + string(key.NewID(language, true))
	}
	for _, tt := range []struct {
		name, path string
		headers    []string
		status     int
		code       faas.Code
		component  faas.Component
	}{
		{"no host", plain(faas.Python), nil, 503, faas.Unavailable, faas.InRuntime},
		{"host's socket is gone", plain(faas.Rust), nil, 503, faas.Unavailable, faas.InRuntime},
		{"host dies, plain", plain(faas.NodeJS), []string{"x-do", "die"}, 503, faas.Unavailable, faas.InRuntime},
		{"host dies, via ext_proc", executePath + "/x", []string{"x-do", "die"}, 503, faas.Unavailable, faas.InRuntime},
		{"host dies, function by path", "/runtime/nodejs/a", []string{"x-do", "die"}, 503, faas.Unavailable, faas.InRuntime},
		{"host dies, plain HTTP", "/function/nodejs-a", []string{"x-do", "die"}, 503, faas.Unavailable, faas.InRuntime},
		{"no host, plain HTTP", "/function/python-a", nil, 503, faas.Unavailable, faas.InRuntime},
		{"no such language", "/function/cobol-a", nil, 404, faas.NotFound, faas.InEnvoy},
		{"host dies, initialize", initializePath, []string{"x-do", "die"}, 503, faas.Unavailable, faas.InRuntime},
		{"host too slow", plain(faas.NodeJS), []string{"x-do", "sleep 5s"}, 504, faas.Timeout, faas.InRuntime},
		{"no such cluster", executePath + "/x", []string{"Language-Title", "cluster nowhere"}, 503, faas.Unavailable, faas.InRuntime},
		{"ext_proc fails", initializePath, []string{"Language-Title", "fail"}, 503, faas.Unavailable, faas.InExtProc},
		{"ext_proc hangs", initializePath, []string{"Language-Title", "hang"}, 503, faas.Unavailable, faas.InExtProc},
		{"ext_proc oversteps", initializePath, []string{"Language-Title", "path"}, 503, faas.Unavailable, faas.InExtProc},
		{"no such path", "/nowhere", nil, 404, faas.NotFound, faas.InEnvoy},
		{"wrong method", healthPath, nil, 405, faas.InvalidRequest, faas.InEnvoy},
		{"underscore in a header", healthPath, []string{"x_y", "z"}, 400, faas.InvalidRequest, faas.InEnvoy},
		{"headers too large", healthPath, []string{"x", strings.Repeat("y", 70<<10)}, 431, faas.InvalidRequest, faas.InEnvoy},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wantError(t, s.do("POST", tt.path, "{}", tt.headers...), tt.status, tt.code, tt.component)
		})
	}
	for _, tt := range []struct {
		name, request string
		status        int
		code          faas.Code
		message       string // part of it
	}{
		{"no host header", "GET / HTTP/1.1\r\n\r\n", 400, faas.InvalidRequest, "not valid HTTP"},
		{"not HTTP", "hello\r\n\r\n", 400, faas.InvalidRequest, "not valid HTTP"},
		{"two lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", 400, faas.InvalidRequest, "not valid HTTP"},
		{"length and chunks", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, faas.InvalidRequest, "not valid HTTP"},
		{"odd transfer encoding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501, faas.InvalidRequest, "transfer encoding"},
		{"HTTP/1.0", "GET /health HTTP/1.0\r\n\r\n", 426, faas.InvalidRequest, "HTTP/1.1 or HTTP/2 is needed"},
		{"upgrade", "GET /health HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", 403, faas.InvalidRequest, "no protocol to upgrade to"},
		{"NUL in the path", "GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n", 400, faas.InvalidRequest, "not valid HTTP"},
		{"slow headers", "GET /health HTTP/1.1\r\nHost: a\r\n", 408, faas.Timeout, "took too long to arrive"},
		{"slow body", "POST " + plain(faas.NodeJS) + " HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx", 408, faas.Timeout, "took too long to arrive"},
		{"slow body of initialize", "POST " + initializePath + " HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx", 408, faas.Timeout, "took too long to arrive"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			reply := envoytest.Raw(t, s.Addr, tt.request)
			wantError(t, reply, tt.status, tt.code, faas.InEnvoy)
			if got := errorOf(t, reply).Error.Message; !strings.Contains(got, tt.message) {
				t.Errorf("message %q, want %q in it", got, tt.message)
			}
		})
	}
}

// TestTooManyRequests has a language whose hosts take one request at a time.
func TestTooManyRequests(t *testing.T) {
	s := newStack(t, func(s *State) { s.MaxRequests = 1 })
	plain := executePath + "/" + string(faas.NewSessionKey().NewID(faas.NodeJS, true))
	replies := make(chan envoytest.Reply)
	const calls = 4
	for range calls {
		go func() { replies <- s.do("POST", plain, "{}", "x-do", "sleep 900ms") }()
	}
	served := 0
	for range calls {
		reply := <-replies
		if reply.Status == http.StatusOK {
			served++
			continue
		}
		wantError(t, reply, http.StatusTooManyRequests, faas.RateLimited, faas.InEnvoy)
		if got := reply.Header.Get("Retry-After"); got != "1" {
			t.Errorf("Retry-After: %q", got)
		}
	}
	if served == 0 || served == calls {
		t.Errorf("%d of %d were served", served, calls)
	}
}

// TestControlAway has no server behind control's sockets.
func TestControlAway(t *testing.T) {
	s := newStack(t, func(s *State) {
		dir := filepath.Dir(s.ExtProcPath)
		s.APIPath, s.ExtProcPath = filepath.Join(dir, "no-api.sock"), filepath.Join(dir, "deaf.sock")
	})
	wantError(t, s.do("GET", healthPath, ""), 503, faas.Unavailable, faas.InControl)
	for _, request := range []string{
		"DELETE " + sessionsPath + "x", "GET " + functionsPath, "PUT " + functionsPath + "/x", "GET " + keysPath, "DELETE " + keysPath + "/x",
		"GET " + secretsPath, "PUT " + secretsPath + "/X", "GET " + auditPath, "GET " + documentPath, "PUT " + configPath, "POST " + configPath + "/rollback",
	} {
		method, path, _ := strings.Cut(request, " ")
		t.Run(request, func(t *testing.T) { wantError(t, s.do(method, path, ""), 503, faas.Unavailable, faas.InControl) })
	}
}

// TestExtProcSocketGone has ext_proc's socket name nothing.
func TestExtProcGone(t *testing.T) {
	s := newStack(t, nil)
	moved := s.state
	moved.ExtProcPath = filepath.Join(s.dir, "gone.sock")
	s.publish(moved)
	wantError(t, s.do("POST", initializePath, "{}"), 503, faas.Unavailable, faas.InExtProc)
	plain := executePath + "/" + string(faas.NewSessionKey().NewID(faas.NodeJS, true))
	if reply := s.do("POST", plain, "{}"); reply.Status != 200 {
		t.Errorf("a plain execute needs ext_proc: %d %s", reply.Status, reply.Body)
	}
}

// TestImmediateResponse sees ext_proc's own JSON pass untouched.
func TestImmediateResponse(t *testing.T) {
	s := newStack(t, nil)
	reply := s.do("POST", executePath+"/x", "{}", "Language-Title", "immediate")
	if reply.Status != 404 || string(reply.Body) != `{"error":{"code":"NOT_FOUND"}}` {
		t.Errorf("got %d %s", reply.Status, reply.Body)
	}
	if reply.Header.Get("X-Request-ID") == "" {
		t.Error("no request id")
	}
}
