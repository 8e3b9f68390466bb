package registry_test

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"envoke/internal/controlpb"
	"envoke/internal/faas"
	"envoke/internal/registry"
)

// What a host says of a build is checked as if it were a stranger's.
func TestSetBuild(t *testing.T) {
	r := newRig(t, registry.Options{})
	client := r.connect(t)
	id := string(r.create(t))
	r.mustFind(t, faas.SessionID(id))
	large := []byte(`"` + strings.Repeat("x", controlpb.MaxBuildError) + `"`)
	for name, test := range map[string]struct {
		id, status string
		build      *controlpb.Build
		want       codes.Code
	}{
		"failed":           {id, "error", &controlpb.Build{Error: []byte(`{"code":"X"}`)}, codes.OK},
		"another status":   {id, "done", nil, codes.InvalidArgument},
		"no JSON":          {id, "error", &controlpb.Build{Error: []byte(`{`)}, codes.InvalidArgument},
		"too much JSON":    {id, "error", &controlpb.Build{Error: large}, codes.OutOfRange},
		"too long a step":  {id, "pending", &controlpb.Build{Step: strings.Repeat("x", 100)}, codes.OutOfRange},
		"a forged session": {"x", "success", nil, codes.NotFound},
		"no session":       {string(newSession(time.Hour).ID), "success", nil, codes.NotFound},
	} {
		_, err := client.SetBuild(t.Context(), &controlpb.SetBuildRequest{Id: test.id, CompileStatus: test.status, Build: test.build})
		if status.Code(err) != test.want {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
	if found, err := r.FindSession(t.Context(), faas.SessionID(id)); err != nil || found.CompileStatus != faas.CompileError {
		t.Errorf("control has %+v, %v", found, err)
	}
}
