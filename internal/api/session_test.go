package api_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"envoke/internal/faas"
)

// TestShowBuild: a session tells how far its code is.
func TestShowBuild(t *testing.T) {
	r := newRig(t)
	created := time.Date(2025, 1, 2, 4, 4, 5, 600000000, time.FixedZone("", 3600))
	live := r.create("live", nil)
	for _, set := range []struct {
		status faas.CompileStatus
		build  faas.Build
		want   []any
	}{
		{faas.CompilePending, faas.Build{Step: "compiling", Since: created}, []any{"active", "pending", "compiling", "2025-01-02T03:04:05.6Z", nil}},
		{faas.CompileError, faas.Build{Error: []byte(`{"code":"X"}`)}, []any{"error", "error", nil, nil, map[string]any{"code": "X"}}},
	} {
		if err := r.store.SetBuild(t.Context(), live.ID, set.status, set.build); err != nil {
			t.Fatal(err)
		}
		_, body, _ := r.request("GET", "/api/v1/sessions/"+string(live.ID))
		got := body.(map[string]any)
		if diff := cmp.Diff(set.want, []any{got["status"], got["compile_status"], got["compile_step"], got["compile_since"], got["compile_error"]}); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}
}
