package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"envoke/internal/accesslog"
	"envoke/internal/faas"
)

// Rows are rows of the request log, from Envoy's file until they are committed, while
// nothing else runs.
type Rows struct {
	Store     string  `json:"store"`
	Rows      int     `json:"rows"`
	PerSecond float64 `json:"rows_per_second"`
}

// rowsInFile is how many lines a file of the log has that is read.
const rowsInFile = 20_000

// rowsSessions is how many sessions the lines are of.
const rowsSessions = 100

// measureRows has a tail read files until it has done so for long enough.
func (s *state) measureRows(ctx context.Context, stores *stores) error {
	var ids []faas.SessionID
	for _, session := range stores.sessions[:rowsSessions] {
		ids = append(ids, session.ID)
	}
	lines := accesslog.SampleLines(rowsInFile, ids)
	for _, store := range []struct {
		name string
		databaseStore
	}{{inSQLite, stores.sqlite}, {inPostgres, stores.postgres}} {
		s.config.Progress("storing rows of the log in " + store.name)
		rows, err := s.readRows(ctx, store.databaseStore, lines)
		if err != nil {
			return fmt.Errorf("store rows in %s: %w", store.name, err)
		}
		rows.Store = store.name
		s.Rows = append(s.Rows, rows)
	}
	return nil
}

func (s *state) readRows(ctx context.Context, store accesslog.Store, lines []byte) (rows Rows, err error) {
	dir := s.stand.newDir()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return rows, fmt.Errorf("make a folder for the log: %w", err)
	}
	path := filepath.Join(dir, "access.log")
	tail := accesslog.New(accesslog.Options{Path: path, Store: store, Logger: silent(), Registerer: prometheus.NewRegistry()})
	defer tail.Close()
	var took time.Duration
	for n := 1; took < s.duration(); n++ {
		if err := os.WriteFile(accesslog.SampleName(path, n), lines, 0o600); err != nil {
			return rows, fmt.Errorf("write a file of the log: %w", err)
		}
		began := time.Now()
		if err := tail.CatchUp(ctx); err != nil {
			return rows, err
		}
		took += time.Since(began)
		rows.Rows += rowsInFile
	}
	rows.PerSecond = float64(rows.Rows) / took.Seconds()
	return rows, nil
}
