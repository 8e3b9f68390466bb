package admin

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
)

// TestNarrow: others than operators see how the process is, and nothing of what it does.
func TestNarrow(t *testing.T) {
	o := options()
	o.Narrow, o.Logs = true, http.NotFoundHandler()
	for path, want := range map[string]int{
		"/metrics": 200, "/healthz": 200, "/readyz": 200,
		"/": 404, "/logs": 404, "/debug/xds": 404, "/debug/pprof/": 404, "/debug/pprof/cmdline": 404,
	} {
		if code, body := get(t, New(o), path); code != want {
			t.Errorf("%s = %d %q; want %d", path, code, body, want)
		}
	}
	o.Ready = func(context.Context) error { return errors.New("10.0.0.7 refused the password") }
	if code, body := get(t, New(o), "/readyz"); code != http.StatusServiceUnavailable || strings.Contains(body, "10.0.0.7") {
		t.Errorf("/readyz = %d %q", code, body)
	}
}
