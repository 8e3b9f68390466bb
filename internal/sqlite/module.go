package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"envoke/internal/faas"
)

const (
	findModule = `SELECT wasm, last_used_at FROM meta_modules WHERE digest = ?`

	touchModule = `UPDATE meta_modules SET last_used_at = ? WHERE digest = ?`

	keepModule = `INSERT INTO meta_modules (digest, wasm, size, created_at, last_used_at) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (digest) DO UPDATE SET wasm = excluded.wasm, size = excluded.size, last_used_at = excluded.last_used_at`

	sweepModules = `DELETE FROM meta_modules WHERE digest IN (
		SELECT digest FROM (SELECT digest, last_used_at, sum(size) OVER (ORDER BY last_used_at DESC, digest) AS newer FROM meta_modules)
		WHERE newer > ? ORDER BY last_used_at LIMIT ?)`
)

// touchEvery is how exactly it is known when a module was used last.
const touchEvery = time.Hour

var errNoModule = &faas.Error{Code: faas.NotFound, Message: "no such module"}

// FindModule finds a module by the digest of what it was built from.
func (s *Store) FindModule(ctx context.Context, digest string) ([]byte, error) {
	var (
		wasm []byte
		used int64
	)
	err := s.read.QueryRowContext(ctx, findModule, digest).Scan(&wasm, &used)
	if err == nil && time.Since(fromMicros(used)) > touchEvery {
		err = s.update(ctx, func(tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, touchModule, micros(time.Now()), digest)
			return err
		})
	}
	if err != nil {
		return nil, wrap(fmt.Sprintf("find module %q", digest), notFound(err, errNoModule))
	}
	return wasm, nil
}

// KeepModule stores a module, in place of another that was built from the same.
func (s *Store) KeepModule(ctx context.Context, digest string, wasm []byte) error {
	now := micros(time.Now())
	err := s.update(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, keepModule, digest, wasm, len(wasm), now, now)
		return err
	})
	return wrap(fmt.Sprintf("keep module %q", digest), err)
}

// SweepModules deletes up to limit of the modules used longest ago, as long as all have more
// than so many bytes, and tells how many went.
func (s *Store) SweepModules(ctx context.Context, bytes int64, limit int) (swept int, err error) {
	err = s.update(ctx, func(tx *sql.Tx) error {
		done, err := tx.ExecContext(ctx, sweepModules, bytes, limit)
		if err != nil {
			return err
		}
		deleted, err := done.RowsAffected()
		swept = int(deleted)
		return err
	})
	return swept, wrap("sweep modules", err)
}
