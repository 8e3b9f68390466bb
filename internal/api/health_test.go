package api_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"envoke/internal/faas"
)

func TestHealth(t *testing.T) {
	for name, test := range map[string]struct {
		runtimes map[faas.Language]string
		closed   bool // the store
		status   int
		want     string
	}{
		"ok":        {map[faas.Language]string{"nodejs": "ok"}, false, 200, `"ok" "ok" "ok" "not_configured" "not_configured"`},
		"degraded":  {map[faas.Language]string{"nodejs": "degraded"}, false, 200, `"degraded" "ok" "degraded" "not_configured" "not_configured"`},
		"part":      {map[faas.Language]string{"nodejs": "ok", "python": "down"}, false, 200, `"degraded" "ok" "ok" "down" "not_configured"`},
		"nodejs":    {map[faas.Language]string{"nodejs": "down"}, false, 503, `"down" "ok" "down" "not_configured" "not_configured"`},
		"store":     {map[faas.Language]string{"nodejs": "ok"}, true, 503, `"down" "down" "ok" "not_configured" "not_configured"`},
		"no answer": {nil, false, 200, `"ok" "ok" "not_configured" "not_configured" "not_configured"`},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.runtimes = test.runtimes
			if test.closed {
				if err := r.store.Close(); err != nil {
					t.Fatal(err)
				}
			}
			state := strings.Fields(test.want)
			r.wantReply("GET", "/health", test.status, fmt.Sprintf(`{"status": %s, "version": "1.2.3", "components": {
				"controller": %s, "redis": "not_configured", "postgres": "not_configured",
				"runtimes": {"nodejs": %s, "python": %s, "rust": %s}}}`, state[0], state[1], state[2], state[3], state[4]))
		})
	}
}

// TestHealthOnPostgres: the store is a part of its own, without which known sessions go on.
func TestHealthOnPostgres(t *testing.T) {
	r := newRig(t)
	r.options.OnPostgres = true
	r.runtimes = map[faas.Language]string{"nodejs": "ok"}
	const want = `{"status": %q, "version": "1.2.3", "components": {"controller": "ok", "redis": "not_configured", "postgres": %q,
		"runtimes": {"nodejs": "ok", "python": "not_configured", "rust": "not_configured"}}}`
	r.wantReply("GET", "/health", 200, fmt.Sprintf(want, "ok", "ok"))
	if err := r.store.Close(); err != nil {
		t.Fatal(err)
	}
	r.wantReply("GET", "/health", 200, fmt.Sprintf(want, "degraded", "down"))
}

// TestHealthOfRedis: without it all goes on, more slowly.
func TestHealthOfRedis(t *testing.T) {
	r := newRig(t)
	r.runtimes = map[faas.Language]string{"nodejs": "ok"}
	var away error
	r.options.Redis = func(context.Context) error { return away }
	const want = `{"status": %q, "version": "1.2.3", "components": {"controller": "ok", "redis": %q, "postgres": "not_configured",
		"runtimes": {"nodejs": "ok", "python": "not_configured", "rust": "not_configured"}}}`
	r.wantReply("GET", "/health", 200, fmt.Sprintf(want, "ok", "ok"))
	away = errors.New("away")
	r.wantReply("GET", "/health", 200, fmt.Sprintf(want, "degraded", "down"))
}

func TestHealthHasADeadline(t *testing.T) {
	r := newRig(t)
	r.options.Runtimes = func(ctx context.Context) map[faas.Language]string {
		<-ctx.Done()
		return map[faas.Language]string{faas.NodeJS: "down"}
	}
	start := time.Now()
	if status, _, _ := r.request("GET", "/health"); status != 503 || time.Since(start) > 5*time.Second {
		t.Errorf("status %d after %v", status, time.Since(start))
	}
}
