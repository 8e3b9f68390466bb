package postgres

import (
	"context"
	"fmt"
	"time"

	"envoke/internal/faas"
)

const (
	findModule = `SELECT wasm, last_used_at FROM meta.modules WHERE digest = $1`

	touchModule = `UPDATE meta.modules SET last_used_at = $2 WHERE digest = $1`

	keepModule = `INSERT INTO meta.modules (digest, wasm, size, created_at, last_used_at) VALUES ($1, $2, $3, $4, $4)
		ON CONFLICT (digest) DO UPDATE SET wasm = excluded.wasm, size = excluded.size, last_used_at = excluded.last_used_at`

	sweepModules = `DELETE FROM meta.modules WHERE digest IN (
		SELECT digest FROM (SELECT digest, last_used_at, sum(size) OVER (ORDER BY last_used_at DESC, digest) AS newer FROM meta.modules) m
		WHERE newer > $1::bigint ORDER BY last_used_at LIMIT $2)`
)

// touchEvery is how exactly it is known when a module was used last.
const touchEvery = time.Hour

var errNoModule = &faas.Error{Code: faas.NotFound, Message: "no such module"}

// FindModule finds a module by the digest of what it was built from.
func (s *Store) FindModule(ctx context.Context, digest string) ([]byte, error) {
	var (
		wasm []byte
		used time.Time
	)
	err := s.pool.QueryRow(ctx, findModule, digest).Scan(&wasm, &used)
	if err == nil && time.Since(used) > touchEvery {
		_, err = s.exec(ctx, touchModule, digest, time.Now())
	}
	if err != nil {
		return nil, wrap(fmt.Sprintf("find module %q", digest), notFound(err, errNoModule))
	}
	return wasm, nil
}

// KeepModule stores a module, in place of another that was built from the same.
func (s *Store) KeepModule(ctx context.Context, digest string, wasm []byte) error {
	_, err := s.exec(ctx, keepModule, digest, wasm, len(wasm), time.Now())
	return wrap(fmt.Sprintf("keep module %q", digest), err)
}

// SweepModules deletes up to limit of the modules used longest ago, as long as all have more
// than so many bytes, and tells how many went.
func (s *Store) SweepModules(ctx context.Context, bytes int64, limit int) (swept int, err error) {
	swept, err = s.exec(ctx, sweepModules, bytes, limit)
	return swept, wrap("sweep modules", err)
}
