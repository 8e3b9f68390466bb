package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"envoke/migrations"
)

const versionTable = "public.goose_db_version"

// migrateLock is the advisory lock under which tables are brought up to date. Who wants it
// waits in the server's queue; goose's own locker asks once a second, so that ten programs
// that start at once would take ten.
type migrateLock struct{}

const migrateLockKey = "hashtextextended('envoke migrate', 0)"

func (migrateLock) SessionLock(ctx context.Context, conn *sql.Conn) error {
	_, err := conn.ExecContext(ctx, "SELECT pg_advisory_lock("+migrateLockKey+")")
	return err
}

func (migrateLock) SessionUnlock(ctx context.Context, conn *sql.Conn) error {
	_, err := conn.ExecContext(ctx, "SELECT pg_advisory_unlock("+migrateLockKey+")")
	return err
}

// migrate brings the tables up to date, and refuses those of a newer Envoke. Where they are
// up to date it only reads, so that a user who owns nothing can open the store.
func migrate(ctx context.Context, config *pgx.ConnConfig) (err error) {
	m, err := newMigrations(config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	if err := m.checkEncoding(ctx); err != nil {
		return err
	}
	current, err := m.current(ctx)
	if err != nil {
		return err
	}
	known := m.known()
	switch {
	case current > known:
		return fmt.Errorf("a newer Envoke made it (tables of version %d; this one knows %d): upgrade Envoke, or choose another database", current, known)
	case current == known:
		return nil
	}
	_, err = m.Up(ctx)
	return err
}

// Migrations are the steps by which a database's tables are made and unmade. Close ends them.
type Migrations struct {
	*goose.Provider
	db *sql.DB
}

// OpenMigrations gives the steps of the database at an address, and changes nothing yet.
func OpenMigrations(ctx context.Context, address string) (*Migrations, error) {
	config, err := parse(address)
	if err != nil {
		return nil, err
	}
	m, err := newMigrations(config.ConnConfig)
	if err != nil {
		return nil, err
	}
	if err := m.checkEncoding(ctx); err != nil {
		return nil, openError(config.ConnConfig, errors.Join(err, m.Close()))
	}
	return m, nil
}

// Made tells whether a step was ever taken.
func (m *Migrations) Made(ctx context.Context) (bool, error) {
	version, err := m.current(ctx)
	return version > 0, err
}

func newMigrations(config *pgx.ConnConfig) (*Migrations, error) {
	files, err := fs.Sub(migrations.FS, "postgres")
	if err != nil {
		return nil, err
	}
	db := stdlib.OpenDB(*config)
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files,
		goose.WithDisableGlobalRegistry(true), goose.WithTableName(versionTable), goose.WithSessionLocker(migrateLock{}))
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &Migrations{provider, db}, nil
}

// Close closes the connections.
func (m *Migrations) Close() error { return m.db.Close() }

// checkEncoding refuses a database that could not hold what callers send.
func (m *Migrations) checkEncoding(ctx context.Context) error {
	var encoding string
	if err := m.db.QueryRowContext(ctx, "SHOW server_encoding").Scan(&encoding); err != nil || encoding == "UTF8" {
		return err
	}
	return fmt.Errorf("it has the encoding %s: create one with ENCODING 'UTF8'", encoding)
}

// current is the version of the tables, 0 without any. goose would make its own table first.
func (m *Migrations) current(ctx context.Context) (int64, error) {
	var (
		there   bool
		version int64
	)
	err := m.db.QueryRowContext(ctx, "SELECT to_regclass($1) IS NOT NULL", versionTable).Scan(&there)
	if err == nil && there {
		err = m.db.QueryRowContext(ctx, "SELECT coalesce(max(version_id), 0) FROM "+versionTable).Scan(&version)
	}
	return version, err
}

func (m *Migrations) known() int64 {
	sources := m.ListSources()
	return sources[len(sources)-1].Version
}
