package tlsfiles

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"envoke/internal/mtls"
)

// TestFilesThatAreReplacedOneByOne: what does not fit for a moment is no failure.
func TestFilesThatAreReplacedOneByOne(t *testing.T) {
	authority, err := mtls.NewAuthority(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	f := Files{Cert: filepath.Join(dir, "cert"), Key: filepath.Join(dir, "key")}
	issue := func() (cert, key []byte) {
		cert, key, err := authority.Issue(mtls.Control, nil, time.Now(), time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		return cert, key
	}
	put := func(path string, content []byte) {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, key := issue()
	put(f.Cert, cert)
	put(f.Key, key)
	w, err := Open(Options{
		Files: f, Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
		Changed: func(context.Context, *Content) error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	looksAt := func(what string, wantChain []byte, failures float64) {
		t.Helper()
		w.look(t.Context())
		var m dto.Metric
		if err := w.failures.Write(&m); err != nil {
			t.Fatal(err)
		}
		if got := m.GetCounter().GetValue(); w.Current().Chain != string(wantChain) || got != failures {
			t.Errorf("%s: %v failures, want %v; the chain is right: %v", what, got, failures, w.Current().Chain == string(wantChain))
		}
	}
	next, nextKey := issue()
	put(f.Cert, next)
	looksAt("half of it", cert, 0)
	put(f.Key, nextKey)
	looksAt("the other half", next, 0)
	put(f.Key, key)
	looksAt("another key", next, 0)
	looksAt("the same", next, 1)
	looksAt("the same again", next, 1)
	put(f.Key, nextKey)
	looksAt("as before", next, 1)
	put(f.Key, key)
	looksAt("another key again", next, 1)
	looksAt("the same", next, 2)
}
