package controlpb_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"envoke/internal/controlpb"
	"envoke/internal/faas"
)

func TestErrorsCrossTheWire(t *testing.T) {
	for _, tt := range []struct {
		name string
		in   error
		code codes.Code
		want faas.Code
	}{
		{"not found", fmt.Errorf("find: %w", &faas.Error{Code: faas.NotFound, Message: "m"}), codes.NotFound, faas.NotFound},
		{"conflict", &faas.Error{Code: faas.Conflict, Message: "m"}, codes.AlreadyExists, faas.Conflict},
		{"invalid", &faas.Error{Code: faas.InvalidRequest, Message: "m"}, codes.InvalidArgument, faas.InvalidRequest},
		{"too large", &faas.Error{Code: faas.PayloadTooLarge, Message: "m"}, codes.OutOfRange, faas.PayloadTooLarge},
		{"unavailable", &faas.Error{Code: faas.Unavailable, Message: "m"}, codes.Unavailable, faas.Unavailable},
		{"too slow", fmt.Errorf("find: %w", context.DeadlineExceeded), codes.DeadlineExceeded, faas.Unavailable},
		{"not for the wire", &faas.Error{Code: faas.RuntimeError, Message: "secret"}, codes.Internal, faas.InternalError},
		{"anything else", errors.New("secret"), codes.Internal, faas.InternalError},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sent := controlpb.Status(tt.in)
			if got := status.Code(sent); got != tt.code || strings.Contains(sent.Error(), "secret") {
				t.Errorf("Status = %v, want %v", sent, tt.code)
			}
			got := faas.AsError(controlpb.FromStatus(sent))
			if got.Code != tt.want || strings.Contains(got.Message, "secret") {
				t.Errorf("FromStatus = %v, want %v", got, tt.want)
			}
		})
	}
	if controlpb.Status(nil) != nil || controlpb.FromStatus(nil) != nil {
		t.Error("no error became one")
	}
	if err := controlpb.FromStatus(status.Error(codes.Canceled, "")); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled became %v", err)
	}
}

// What gRPC itself says, of addresses and sizes, is not for callers.
func TestTransportTextsStayInside(t *testing.T) {
	for _, code := range []codes.Code{codes.Unavailable, codes.ResourceExhausted, codes.Unknown, codes.Unimplemented} {
		if e := faas.AsError(controlpb.FromStatus(status.Error(code, "secret"))); strings.Contains(e.Message, "secret") {
			t.Errorf("%v: %q", code, e.Message)
		}
	}
}

func TestSessionRoundTrip(t *testing.T) {
	now := time.Now().UTC().Truncate(time.Millisecond)
	want := faas.Session{
		ID: "id", Name: faas.Name{Namespace: "team-a", Language: faas.NodeJS, Title: "hello"}, Digest: "d", Version: 3,
		Owner: "function:u", UserID: "u", Context: []byte(`{"é":1}`), Timeout: 2 * time.Second, MemoryMB: 64, Network: faas.Egress, Retain: true,
		Environment:   faas.Environment{"A": {Text: "x"}, "B": {Secret: "S"}},
		Limits:        faas.Limits{CPU: time.Second, Output: 10, Concurrency: 3, Rate: 4},
		Build:         faas.Build{Step: "compiling", Since: now, Error: []byte(`{"code":"X"}`)},
		CompileStatus: faas.CompileSuccess, CreatedAt: now, ExpiresAt: now.Add(time.Hour), Status: faas.Active,
	}
	message := controlpb.NewSession(&want)
	got, err := overWire(t, message, &controlpb.Session{}).Session()
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
	message.LanguageTitle = "x"
	if _, err := message.Session(); err == nil {
		t.Error("a session without a name passed")
	}
	var none *controlpb.Session
	if _, err := none.Session(); err == nil {
		t.Error("no session passed")
	}
}

func TestScriptRoundTrip(t *testing.T) {
	want := faas.NewScript(faas.Python, "result = 1", []byte(`{"target":"x"}`))
	message := controlpb.NewScript(&want)
	if diff := cmp.Diff(want, overWire(t, message, &controlpb.Script{}).Script()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	message.Source += " "
	if message.Script().Digest == want.Digest {
		t.Error("the digest was believed")
	}
}

func TestFunctionRoundTrip(t *testing.T) {
	for _, user := range []string{"", "u", "function:u"} {
		want := faas.Function{
			Name: faas.Name{Language: faas.Rust, Title: "f"}, Version: 2, UserID: user, Timeout: time.Second, MemoryMB: 32, Network: faas.Egress, Limits: faas.Limits{Concurrency: 1},
			Script: faas.Script{Digest: "d", Language: faas.Rust}, Schema: []byte(`{}`),
			Weights: map[int]int{3: 10, 1: 5},
		}
		got, err := overWire(t, controlpb.NewFunction(&want), &controlpb.Function{}).Function()
		if diff := cmp.Diff(want, got); err != nil || diff != "" || got.Owner() != want.Owner() {
			t.Errorf("user %q: %v (-want +got)\n%s", user, err, diff)
		}
	}
}

func overWire[M proto.Message](t *testing.T, in, out M) M {
	t.Helper()
	raw, err := proto.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	if err := proto.Unmarshal(raw, out); err != nil {
		t.Fatal(err)
	}
	return out
}
