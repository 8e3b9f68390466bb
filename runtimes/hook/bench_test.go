package hook

import (
	"context"
	"log/slog"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/metadata"

	"envoke/internal/faas"
	"envoke/runtimes/host"
)

// passing is a host whose functions let all pass, at once.
type passing struct{}

func (passing) Hook(context.Context, host.HookCall) ([]byte, error) { return []byte("null"), nil }

// BenchmarkDecide is what a hook costs its host beside gRPC and the function.
func BenchmarkDecide(b *testing.B) {
	s := New(Options{
		Language: faas.NodeJS, Host: passing{}, Failed: func(faas.Failure) {}, Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	})
	ctx := metadata.NewIncomingContext(b.Context(), metadata.Pairs(
		faas.HookFunction, "nodejs-guard", faas.HookRoute, "route%2Fshop%2F1", faas.HookPhase, "request", faas.HookDeadline, "1000000"))
	all := &corev3.HeaderMap{}
	for _, h := range [][2]string{
		{":authority", "shop.example"},
		{":path", "/orders/7?x=1"},
		{":method", "GET"},
		{":scheme", "https"},
		{"user-agent", "Mozilla/5.0 (X11; Linux x86_64)"},
		{"accept", "text/html"},
		{"accept-encoding", "gzip, br"},
		{"accept-language", "en"},
		{"cookie", "session=0123456789abcdef"},
		{"authorization", "Bearer 0123456789abcdef"},
		{"x-forwarded-for", "127.0.0.1"},
		{"x-forwarded-proto", "https"},
		{"x-request-id", "00000000-0000-4000-8000-000000000000"},
		{"x-envoy-internal", "true"},
	} {
		all.Headers = append(all.Headers, &corev3.HeaderValue{Key: h[0], RawValue: []byte(h[1])})
	}
	message := &extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_RequestHeaders{RequestHeaders: &extprocv3.HttpHeaders{Headers: all}}}
	b.ReportAllocs()
	for b.Loop() {
		q, err := questionOf(ctx)
		if err != nil {
			b.Fatal(err)
		}
		x, err := q.of(message)
		if err != nil {
			b.Fatal(err)
		}
		if got := s.decide(ctx, x); got.outcome != passed {
			b.Fatal(got)
		}
	}
}
