package registry_test

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"envoke/internal/controlpb"
	"envoke/internal/registry"
)

// What a host says of a context is checked as if it were a stranger's.
func TestContexts(t *testing.T) {
	r := newRig(t, registry.Options{})
	client := r.connect(t)
	s := newSession(time.Hour)
	s.Retain = true
	if err := r.CreateSession(t.Context(), s, &script); err != nil {
		t.Fatal(err)
	}
	kept := string(s.ID)
	plain := string(r.create(t))
	soon := time.Minute.Milliseconds()
	for _, test := range []struct {
		name string
		in   *controlpb.TakeContextRequest
		want codes.Code
	}{
		{"no host", &controlpb.TakeContextRequest{Id: kept, ForMs: soon}, codes.InvalidArgument},
		{"a long name", &controlpb.TakeContextRequest{Id: kept, Host: strings.Repeat("x", 300), ForMs: soon}, codes.InvalidArgument},
		{"for ever", &controlpb.TakeContextRequest{Id: kept, Host: "h", ForMs: 1 << 60}, codes.InvalidArgument},
		{"a forged session", &controlpb.TakeContextRequest{Id: "x", Host: "h", ForMs: soon}, codes.NotFound},
		{"no session", &controlpb.TakeContextRequest{Id: string(newSession(time.Hour).ID), Host: "h", ForMs: soon}, codes.NotFound},
		{"a session that retains nothing", &controlpb.TakeContextRequest{Id: plain, Host: "h", ForMs: soon}, codes.InvalidArgument},
		{"free", &controlpb.TakeContextRequest{Id: kept, Host: "h", ForMs: soon}, codes.OK},
		{"taken", &controlpb.TakeContextRequest{Id: kept, Host: "other", ForMs: soon}, codes.AlreadyExists},
	} {
		if _, err := client.TakeContext(t.Context(), test.in); status.Code(err) != test.want {
			t.Errorf("take, %s: %v, want %v", test.name, err, test.want)
		}
	}
	for _, test := range []struct {
		name string
		in   *controlpb.PutContextRequest
		want codes.Code
	}{
		{"no host", &controlpb.PutContextRequest{Id: kept}, codes.InvalidArgument},
		{"no object", &controlpb.PutContextRequest{Id: kept, Host: "h", Context: []byte(`[1]`)}, codes.InvalidArgument},
		{"no JSON", &controlpb.PutContextRequest{Id: kept, Host: "h", Context: []byte(`{"a":`)}, codes.InvalidArgument},
		{"too large", &controlpb.PutContextRequest{Id: kept, Host: "h", Context: []byte(`{"a":"` + strings.Repeat("x", 1<<20) + `"}`)}, codes.OutOfRange},
		{"another's", &controlpb.PutContextRequest{Id: kept, Host: "other", Context: []byte(`{}`)}, codes.AlreadyExists},
		{"a forged session", &controlpb.PutContextRequest{Id: "x", Host: "h"}, codes.NotFound},
		{"its own", &controlpb.PutContextRequest{Id: kept, Host: "h", Context: []byte(`{"n":1}`)}, codes.OK},
	} {
		if _, err := client.PutContext(t.Context(), test.in); status.Code(err) != test.want {
			t.Errorf("put, %s: %v, want %v", test.name, err, test.want)
		}
	}
	got, err := client.TakeContext(t.Context(), &controlpb.TakeContextRequest{Id: kept, Host: "other", ForMs: soon})
	if err != nil || string(got.GetContext()) != `{"n":1}` {
		t.Errorf("taken again: %s, %v", got.GetContext(), err)
	}
}

func TestModules(t *testing.T) {
	r := newRig(t, registry.Options{})
	client := r.connect(t)
	digest := strings.Repeat("ab", 32)
	find := func(digest string, want codes.Code) []byte {
		t.Helper()
		found, err := client.FindModule(t.Context(), &controlpb.FindModuleRequest{Digest: digest})
		if status.Code(err) != want {
			t.Errorf("find %s: %v, want %v", digest, err, want)
		}
		return found.GetWasm()
	}
	find(digest, codes.NotFound)
	find("../x", codes.InvalidArgument)
	for name, in := range map[string]*controlpb.Module{
		"empty": {Digest: digest}, "no digest": {Wasm: []byte("x")}, "no hex": {Digest: strings.Repeat("x", 64), Wasm: []byte("x")},
	} {
		if _, err := client.KeepModule(t.Context(), in); status.Code(err) != codes.InvalidArgument {
			t.Errorf("keep, %s: %v", name, err)
		}
	}
	if _, err := client.KeepModule(t.Context(), &controlpb.Module{Digest: digest, Wasm: []byte("wasm")}); err != nil {
		t.Fatal(err)
	}
	if got := find(digest, codes.OK); string(got) != "wasm" {
		t.Errorf("found %q", got)
	}
}
