package host

import (
	"context"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"envoke/internal/faas"
)

func TestFill(t *testing.T) {
	const limit = 300 << 10
	full := strings.Repeat("x", limit)
	tests := []struct {
		name     string
		body     io.Reader
		announce int // -1: chunked
		want     string
		code     faas.Code
	}{
		{"nothing", strings.NewReader(""), 0, "", ""},
		{"chunked nothing", strings.NewReader(""), -1, "", ""},
		{"small", strings.NewReader("{}"), 2, "{}", ""},
		{"byte by byte", iotest.OneByteReader(strings.NewReader(full)), -1, full, ""},
		{"end with the data", iotest.DataErrReader(strings.NewReader("{}")), 2, "{}", ""},
		{"as large as allowed", strings.NewReader(full), limit, full, ""},
		{"chunked, as large as allowed", strings.NewReader(full), -1, full, ""},
		{"chunked too large", strings.NewReader(full + "x"), -1, "", faas.PayloadTooLarge},
		{"broken off", io.MultiReader(strings.NewReader("{"), iotest.ErrReader(io.ErrUnexpectedEOF)), 2, "", faas.InvalidRequest},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := &buffer{}
			err := got.fill(test.body, test.announce, limit)
			if test.code != "" {
				wantCode(t, err, test.code)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if string(got.bytes) != test.want {
				t.Errorf("got %d bytes, want %d", len(got.bytes), len(test.want))
			}
		})
	}
}

// Memory is for what has come, not for what is announced.
func TestFillTakesNoWordForMemory(t *testing.T) {
	b := &buffer{}
	if err := b.fill(strings.NewReader("{}"), 1<<30, 1<<30); err != nil {
		t.Fatal(err)
	}
	if cap(b.bytes) > keepBuffer {
		t.Errorf("2 bytes of body took a buffer of %d", cap(b.bytes))
	}
}

func wantCode(t *testing.T, err error, want faas.Code) {
	t.Helper()
	if err == nil || faas.AsError(err).Code != want {
		t.Fatalf("error = %v, want %s", err, want)
	}
}

var quiet = slog.New(slog.DiscardHandler)

func metrics() *prometheus.Registry { return prometheus.NewPedanticRegistry() }

// Large bodies share a budget; what a body turns out not to need is given back.
func TestLargeBodiesAreBounded(t *testing.T) {
	b := newBodies(metrics(), faas.NodeJS)
	first, second := &buffer{}, &buffer{}
	if err := b.hold(t.Context(), first, largeBodies-1); err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	wantCode(t, b.hold(gone, second, 2), faas.RateLimited)
	if n := testutil.ToFloat64(b.refused); n != 1 {
		t.Errorf("%v counted as refused", n)
	}
	first.holdOnly(100)
	if err := b.hold(t.Context(), second, largeBodies-100); err != nil {
		t.Error(err)
	}
	first.release()
	second.release()
	if err := b.hold(t.Context(), &buffer{}, largeBodies); err != nil {
		t.Errorf("not all was given back: %v", err)
	}
}
