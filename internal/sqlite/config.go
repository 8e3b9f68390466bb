package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"envoke/internal/faas"
)

const (
	holdConfig = `SELECT version, last_version FROM meta_config_current`

	insertConfig = `INSERT INTO meta_configs (version, document, bytes, digest, created_at, created_by) VALUES (?, ?, ?, ?, ?, ?)`

	setConfig = `UPDATE meta_config_current SET version = ?1, last_version = max(last_version, ?1)`

	sweepConfigs = `DELETE FROM meta_configs WHERE version <> ? AND version NOT IN (SELECT version FROM meta_configs ORDER BY version DESC LIMIT ?)`

	hasConfig = `SELECT EXISTS (SELECT 1 FROM meta_configs WHERE version = ?)`

	selectConfig = `SELECT c.version, c.bytes, c.digest, c.created_at, c.created_by, c.version = n.version, `

	fromConfig = ` FROM meta_configs c CROSS JOIN meta_config_current n `

	currentConfig = selectConfig + `c.document` + fromConfig + `WHERE c.version = n.version`
	findConfig    = selectConfig + `c.document` + fromConfig + `WHERE c.version = ?`
	listConfigs   = selectConfig + `''` + fromConfig + `ORDER BY c.version DESC`
)

// PutConfig stores a document as the next version of the config, makes it the current one and
// returns it as stored. CONFLICT: another version than the expected one is current.
func (s *Store) PutConfig(ctx context.Context, by faas.Actor, c faas.Config, expected int) (faas.Config, error) {
	err := s.ofConfig(ctx, expected, func(tx *sql.Tx, last int) error {
		now := micros(time.Now())
		c.Version, c.Current, c.CreatedAt = last+1, true, fromMicros(now)
		if _, err := tx.ExecContext(ctx, insertConfig, c.Version, c.Document, c.Bytes, string(c.Digest), now, c.CreatedBy); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, setConfig, c.Version); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, sweepConfigs, c.Version, faas.ConfigsKept); err != nil {
			return err
		}
		return audit(ctx, tx, by, faas.AuditConfig(&c))
	})
	return c, wrap("put config", err)
}

// SetCurrentConfig makes a version that exists the current one. NOT_FOUND: there is none of
// that number. CONFLICT: another version than the expected one is current.
func (s *Store) SetCurrentConfig(ctx context.Context, by faas.Actor, version, expected int) error {
	err := s.ofConfig(ctx, expected, func(tx *sql.Tx, _ int) error {
		var there bool
		if err := tx.QueryRowContext(ctx, hasConfig, version).Scan(&there); err != nil {
			return err
		}
		if !there {
			return faas.ErrNoConfig
		}
		if _, err := tx.ExecContext(ctx, setConfig, version); err != nil {
			return err
		}
		return audit(ctx, tx, by, faas.AuditCurrentConfig(version))
	})
	return wrap(fmt.Sprintf("make version %d of the config the current one", version), err)
}

// ofConfig runs do in a transaction in which nobody else changes the config, with the number of
// the last version that was put.
func (s *Store) ofConfig(ctx context.Context, expected int, do func(tx *sql.Tx, last int) error) error {
	return s.update(ctx, func(tx *sql.Tx) error {
		var current, last int
		if err := tx.QueryRowContext(ctx, holdConfig).Scan(&current, &last); err != nil {
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
	c, err := scanConfig(s.read.QueryRowContext(ctx, currentConfig))
	return c, wrap("find the current config", notFound(err, faas.ErrNoConfig))
}

// FindConfig finds a version. NOT_FOUND: there is none of that number.
func (s *Store) FindConfig(ctx context.Context, version int) (faas.Config, error) {
	c, err := scanConfig(s.read.QueryRowContext(ctx, findConfig, version))
	return c, wrap(fmt.Sprintf("find version %d of the config", version), notFound(err, faas.ErrNoConfig))
}

// ListConfigs is all versions that are kept, newest first, without their documents.
func (s *Store) ListConfigs(ctx context.Context) ([]faas.Config, error) {
	rows, err := s.read.QueryContext(ctx, listConfigs)
	if err != nil {
		return nil, wrap("list configs", err)
	}
	defer rows.Close()
	var configs []faas.Config
	for rows.Next() {
		c, err := scanConfig(rows)
		if err != nil {
			return nil, wrap("list configs", err)
		}
		configs = append(configs, c)
	}
	return configs, wrap("list configs", rows.Err())
}

func scanConfig(row interface{ Scan(...any) error }) (c faas.Config, err error) {
	var created int64
	err = row.Scan(&c.Version, &c.Bytes, &c.Digest, &created, &c.CreatedBy, &c.Current, &c.Document)
	c.CreatedAt = fromMicros(created)
	return c, err
}
