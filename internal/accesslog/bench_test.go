package accesslog

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"envoke/internal/faas"
	"envoke/internal/postgres"
	"envoke/internal/sqlite"
	"envoke/internal/testrig"
)

// BenchmarkCatchUp is the way of a line from Envoy's file to a row that is committed, in a
// PostgreSQL on this machine, which syncs what it commits, and in SQLite. Two cores are shared by all of it.
func BenchmarkCatchUp(b *testing.B) {
	type store interface {
		Store
		sessionStore
	}
	for name, open := range map[string]func(b *testing.B) store{
		"postgres": func(b *testing.B) store {
			s, err := postgres.Open(b.Context(), testrig.NewDurablePostgres(b).NewDatabase(b))
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { s.Close() })
			return s
		},
		"sqlite": func(b *testing.B) store {
			s, err := sqlite.Open(b.Context(), filepath.Join(b.TempDir(), "envoke.db"))
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { s.Close() })
			return s
		},
	} {
		b.Run(name, func(b *testing.B) {
			s := open(b)
			benchCatchUp(b, s, sessionsIn(b, s, 100))
		})
	}
}

func benchCatchUp(b *testing.B, store Store, sessions []faas.SessionID) {
	path := filepath.Join(b.TempDir(), "access.log")
	tail := New(Options{Path: path, Store: store, Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
	b.Cleanup(tail.close)
	if err := os.WriteFile(SampleName(path, 1), SampleLines(b.N, sessions), 0o600); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	if err := tail.CatchUp(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

type sessionStore interface {
	CreateSession(ctx context.Context, s faas.Session, script *faas.Script) error
}

func sessionsIn(b *testing.B, s sessionStore, n int) (ids []faas.SessionID) {
	b.Helper()
	script := faas.NewScript(faas.NodeJS, "return 1", nil)
	for range n {
		session := faas.Session{
			ID: faas.NewSessionKey().NewID(faas.NodeJS, true), Name: faas.Name{Language: faas.NodeJS, Title: "t"}, Digest: script.Digest,
			CreatedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour), Status: faas.Active,
		}
		if err := s.CreateSession(b.Context(), session, &script); err != nil {
			b.Fatal(err)
		}
		ids = append(ids, session.ID)
	}
	return ids
}
