package api_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"envoke/internal/api"
	"envoke/internal/faas"
)

// TestListAudit: who is told of is who has asked, as Envoy says; what is asked for wrongly is
// said to be so.
func TestListAudit(t *testing.T) {
	r := newRig(t)
	r.options.Auth = true
	by := func(headers ...string) {
		t.Helper()
		request := httptest.NewRequestWithContext(t.Context(), http.MethodPut, "/api/v1/secrets/A", strings.NewReader(`{"value":"v"}`))
		for n := 0; n < len(headers); n += 2 {
			request.Header.Set(headers[n], headers[n+1])
		}
		recorder := httptest.NewRecorder()
		if api.New(r.options).ServeHTTP(recorder, request); recorder.Code != http.StatusNoContent {
			t.Fatalf("%d %s", recorder.Code, recorder.Body)
		}
	}
	by("X-User-ID", "ada", "X-Envoke-Proof", "key 1", "X-Envoke-Address", "::1", "X-Request-ID", strings.Repeat("é", 100))
	by("X-User-ID", "ada", "X-Request-ID", "rid")
	status, body, header := r.request("GET", "/api/v1/audit?target=A&page=1&per_page=2")
	page, _ := body.(map[string]any)
	entries, _ := page["entries"].([]any)
	if status != 200 || len(entries) != 2 || header.Get("Cache-Control") != "no-store" || page["total"] != 2.0 {
		t.Fatalf("%d %v %v", status, header, body)
	}
	for n, want := range []string{
		"ada token <nil> rid",
		"ada key 1 ::1 " + strings.Repeat("é", 64),
	} {
		e, _ := entries[n].(map[string]any)
		if got := fmt.Sprint(e["user_id"], " ", e["proof"], " ", e["address"], " ", e["request_id"]); got != want {
			t.Errorf("entry %d is %s, want %s", n, got, want)
		}
	}
	for _, query := range []string{
		"action=key.made", "user=a&user=b", "who=ada", "since=now", "since=2026-11-30", "until=1969-12-31T00:00:00Z",
		"until=2026-11-30T00:00:00+01:00", "page=0", "per_page=101", "target=%ff",
	} {
		if status, body, _ := r.request("GET", "/api/v1/audit?"+query); status != 400 || !strings.Contains(fmt.Sprint(body), string(faas.InvalidRequest)) {
			t.Errorf("%s: %d %v", query, status, body)
		}
	}
}
