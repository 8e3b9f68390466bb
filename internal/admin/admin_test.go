package admin

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// options are those of a process that is ready; tests change what they need.
func options() Options {
	registry := prometheus.NewRegistry()
	counter := prometheus.NewCounter(prometheus.CounterOpts{Name: "envoke_test_events_total", Help: "Events."})
	registry.MustRegister(counter)
	counter.Inc()
	return Options{
		Registry: registry,
		Ready:    func(context.Context) error { return nil },
		Debug: map[string]func() any{
			"xds": func() any { return map[string]any{"version": "7f", "nacks": 0} },
		},
		Logger: slog.New(slog.DiscardHandler),
	}
}

func get(t *testing.T, handler http.Handler, target string) (code int, body string) {
	t.Helper()
	request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
	request.Host = "127.0.0.1:9001"
	return serve(handler, request)
}

func serve(handler http.Handler, request *http.Request) (code int, body string) {
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, request)
	return recorder.Code, recorder.Body.String()
}

func TestPages(t *testing.T) {
	server := New(options())
	tests := []struct {
		path string
		code int
		want string // part of the body
	}{
		{"/", 200, "/readyz"},
		{"/", 200, "/debug/xds\n"},
		{"/metrics", 200, "envoke_test_events_total 1"},
		{"/healthz", 200, `"status": "alive"`},
		{"/readyz", 200, `"status": "ready"`},
		{"/debug/xds", 200, `"version": "7f"`},
		{"/debug/pprof/", 200, "goroutine"},
		{"/debug/pprof/goroutine?debug=1", 200, "TestPages"},
		{"/debug/pprof/cmdline", 200, "admin.test"},
		{"/debug/nothing", 404, ""},
		{"/nothing", 404, ""},
	}
	for _, test := range tests {
		t.Run(test.path, func(t *testing.T) {
			code, body := get(t, server, test.path)
			if code != test.code || !strings.Contains(body, test.want) {
				t.Errorf("GET %s = %d %q; want %d and %q", test.path, code, body, test.code, test.want)
			}
		})
	}
}

func TestReadyzGivesTheReason(t *testing.T) {
	o := options()
	o.Ready = func(ctx context.Context) error {
		if _, limited := ctx.Deadline(); !limited {
			return errors.New("asked without a deadline")
		}
		return errors.New("envoy has no listener yet")
	}
	code, body := get(t, New(o), "/readyz")
	want := "{\n  \"status\": \"unready\",\n  \"reason\": \"envoy has no listener yet\"\n}\n"
	if diff := cmp.Diff(want, body); code != http.StatusServiceUnavailable || diff != "" {
		t.Errorf("/readyz = %d (-want +got):\n%s", code, diff)
	}
	if code, _ := get(t, New(o), "/healthz"); code != http.StatusOK {
		t.Errorf("/healthz = %d while the process lives", code)
	}
}

func TestDebugStateThatIsNoJSON(t *testing.T) {
	o := options()
	o.Debug["odd"] = func() any { return math.Inf(1) }
	if code, body := get(t, New(o), "/debug/odd"); code != http.StatusInternalServerError || !strings.Contains(body, "encode:") {
		t.Errorf("/debug/odd = %d %q", code, body)
	}
}

func TestNewPanicsOnABadDebugName(t *testing.T) {
	for _, name := range []string{"", "pprof", "a/b", "{id}", "a b"} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Errorf("New took the name %q", name)
				}
			}()
			New(Options{Logger: slog.New(slog.DiscardHandler), Registry: prometheus.NewRegistry(), Debug: map[string]func() any{name: nil}})
		})
	}
}

func TestForeignRequestsAreRefused(t *testing.T) {
	tests := []struct {
		name, method, host, site string
		code                     int
	}{
		{"curl", "GET", "127.0.0.1:9001", "", 200},
		{"a probe without a port", "HEAD", "10.1.2.3", "", 200},
		{"IPv6", "GET", "[::1]:9001", "", 200},
		{"a service name", "GET", "control:9001", "", 200},
		{"a browser's address bar", "GET", "localhost:9001", "none", 200},
		{"a link between our pages", "GET", "localhost:9001", "same-origin", 200},
		{"an image of another site", "GET", "localhost:9001", "cross-site", 403},
		{"a page on another port", "GET", "localhost:9001", "same-site", 403},
		{"a public name that points here", "GET", "evil.example:9001", "", 403},
		{"a public name without a port", "GET", "evil.example", "same-origin", 403},
		{"an address within a name", "GET", "127.0.0.1.evil.example:9001", "", 403},
		{"POST", "POST", "127.0.0.1:9001", "", 405},
		{"DELETE", "DELETE", "127.0.0.1:9001", "", 405},
		{"OPTIONS, a preflight", "OPTIONS", "127.0.0.1:9001", "", 405},
	}
	server := New(options())
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			request := httptest.NewRequestWithContext(t.Context(), test.method, "/healthz", nil)
			request.Host = test.host
			if test.site != "" {
				request.Header.Set("Sec-Fetch-Site", test.site)
			}
			if code, body := serve(server, request); code != test.code {
				t.Errorf("%d %q, want %d", code, body, test.code)
			}
		})
	}
}
