package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"envoke/internal/faas"
)

const (
	// Who changes it too waits until the transaction ends.
	holdConfig = `SELECT version, last_version FROM meta.config_current FOR UPDATE`

	insertConfig = `INSERT INTO meta.configs (version, document, bytes, digest, created_at, created_by) VALUES ($1, $2, $3, $4, $5, $6)`

	setConfig = `UPDATE meta.config_current SET version = $1, last_version = greatest(last_version, $1)`

	sweepConfigs = `DELETE FROM meta.configs WHERE version <> $1 AND version NOT IN (SELECT version FROM meta.configs ORDER BY version DESC LIMIT $2)`

	hasConfig = `SELECT EXISTS (SELECT FROM meta.configs WHERE version = $1)`

	selectConfig = `SELECT c.version, c.bytes, c.digest, c.created_at, c.created_by, c.version = n.version, `

	fromConfig = ` FROM meta.configs c CROSS JOIN meta.config_current n `

	currentConfig = selectConfig + `c.document` + fromConfig + `WHERE c.version = n.version`
	findConfig    = selectConfig + `c.document` + fromConfig + `WHERE c.version = $1`
	listConfigs   = selectConfig + `''` + fromConfig + `ORDER BY c.version DESC`
)

// PutConfig stores a document as the next version of the config, makes it the current one and
// returns it as stored. CONFLICT: another version than the expected one is current.
func (s *Store) PutConfig(ctx context.Context, by faas.Actor, c faas.Config, expected int) (faas.Config, error) {
	err := s.ofConfig(ctx, expected, func(tx pgx.Tx, last int) error {
		c.Version, c.Current, c.CreatedAt = last+1, true, stored(time.Now())
		if _, err := tx.Exec(ctx, insertConfig, c.Version, c.Document, c.Bytes, string(c.Digest), c.CreatedAt, c.CreatedBy); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, setConfig, c.Version); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, sweepConfigs, c.Version, faas.ConfigsKept); err != nil {
			return err
		}
		return audit(ctx, tx, by, faas.AuditConfig(&c))
	})
	return c, wrap("put config", err)
}

// SetCurrentConfig makes a version that exists the current one. NOT_FOUND: there is none of
// that number. CONFLICT: another version than the expected one is current.
func (s *Store) SetCurrentConfig(ctx context.Context, by faas.Actor, version, expected int) error {
	err := s.ofConfig(ctx, expected, func(tx pgx.Tx, _ int) error {
		var there bool
		if err := tx.QueryRow(ctx, hasConfig, version).Scan(&there); err != nil {
			return err
		}
		if !there {
			return faas.ErrNoConfig
		}
		if _, err := tx.Exec(ctx, setConfig, version); err != nil {
			return err
		}
		return audit(ctx, tx, by, faas.AuditCurrentConfig(version))
	})
	return wrap(fmt.Sprintf("make version %d of the config the current one", version), err)
}

// ofConfig runs do in a transaction in which nobody else changes the config, with the number of
// the last version that was put.
func (s *Store) ofConfig(ctx context.Context, expected int, do func(tx pgx.Tx, last int) error) error {
	return s.update(ctx, func(tx pgx.Tx) error {
		var current, last int
		if err := tx.QueryRow(ctx, holdConfig).Scan(&current, &last); err != nil {
			return err
		}
		if expected != faas.AnyConfig && expected != current {
			return faas.ErrOtherConfig(current, expected)
		}
		return do(tx, last)
	})
}

// CurrentConfig is the version that is to be served. NOT_FOUND: none was ever put.
func (s *Store) CurrentConfig(ctx context.Context) (faas.Config, error) {
	c, err := scanConfig(s.pool.QueryRow(ctx, currentConfig))
	return c, wrap("find the current config", notFound(err, faas.ErrNoConfig))
}

// FindConfig finds a version. NOT_FOUND: there is none of that number.
func (s *Store) FindConfig(ctx context.Context, version int) (faas.Config, error) {
	c, err := scanConfig(s.pool.QueryRow(ctx, findConfig, version))
	return c, wrap(fmt.Sprintf("find version %d of the config", version), notFound(err, faas.ErrNoConfig))
}

// ListConfigs is all versions that are kept, newest first, without their documents.
func (s *Store) ListConfigs(ctx context.Context) ([]faas.Config, error) {
	rows, err := s.pool.Query(ctx, listConfigs)
	if err != nil {
		return nil, wrap("list configs", err)
	}
	configs, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (faas.Config, error) { return scanConfig(row) })
	return configs, wrap("list configs", err)
}

func scanConfig(row pgx.Row) (c faas.Config, err error) {
	err = row.Scan(&c.Version, &c.Bytes, &c.Digest, &c.CreatedAt, &c.CreatedBy, &c.Current, &c.Document)
	c.CreatedAt = c.CreatedAt.UTC()
	return c, err
}
