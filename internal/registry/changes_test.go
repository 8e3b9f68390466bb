package registry_test

import (
	"slices"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"envoke/internal/faas"
	"envoke/internal/registry"
)

// What another control has changed in the store is forgotten here, and hosts are told.
func TestHeard(t *testing.T) {
	r := newRig(t, registry.Options{})
	h := watch(t, r.connect(t))
	id := r.create(t)
	r.mustFind(t, id)
	if err := r.store.DeleteSession(t.Context(), faas.Actor{}, id); err != nil {
		t.Fatal(err)
	}
	r.mustFind(t, id) // nobody has said so
	r.Heard(faas.Change{Session: id})
	r.mustMiss(t, id)
	if told := h.revocation(t); !slices.Equal(told.GetRevokedSessions(), []string{string(id)}) {
		t.Errorf("the host was told %v", told)
	}

	if _, err := r.store.CreateFunction(t.Context(), faas.Actor{}, faas.Function{Name: hello.Name, Script: script}); err != nil {
		t.Fatal(err)
	}
	version := func(want int) {
		t.Helper()
		if f, err := r.FindFunction(t.Context(), hello); err != nil || f.Version != want {
			t.Errorf("the function is %+v, %v; want version %d", f, err, want)
		}
	}
	version(1)
	if _, err := r.store.AddVersion(t.Context(), faas.Actor{}, faas.Function{Name: hello.Name, Script: script}); err != nil {
		t.Fatal(err)
	}
	version(1)
	r.Heard(faas.Change{Function: hello.Name})
	version(2)
	for {
		if m := h.next(t); len(m.GetChangedFunctions()) > 0 {
			break
		}
	}
	if n := r.counter(t, "envoke_registry_changes_heard_total"); n != 2 {
		t.Errorf("%v changes were heard, want 2", n)
	}
}

// Where changes may have been missed nothing that is remembered is believed.
func TestHeardOfAnything(t *testing.T) {
	r := newRig(t, registry.Options{})
	client := r.connect(t)
	h := watch(t, client)
	id := r.create(t)
	r.mustFind(t, id)
	if err := r.store.DeleteSession(t.Context(), faas.Actor{}, id); err != nil {
		t.Fatal(err)
	}
	r.Heard(faas.Change{All: true})
	r.mustMiss(t, id)
	var err error
	for err == nil {
		_, err = h.Recv()
	}
	if status.Code(err) != codes.Unavailable {
		t.Errorf("the watch ended with %v", err)
	}
	watch(t, client) // and may begin again
}
