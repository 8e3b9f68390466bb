package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"

	"envoke/migrations"
)

// migrate brings the tables up to date, and refuses those of a newer Envoke.
func migrate(ctx context.Context, db *sql.DB) error {
	provider, err := newProvider(db)
	if err != nil {
		return err
	}
	current, known, err := provider.GetVersions(ctx)
	if err != nil {
		return err
	}
	if current > known {
		return fmt.Errorf("a newer Envoke made it (tables of version %d; this one knows %d): upgrade Envoke, or choose another data folder", current, known)
	}
	_, err = provider.Up(ctx)
	return err
}

func newProvider(db *sql.DB) (*goose.Provider, error) {
	files, err := fs.Sub(migrations.FS, "sqlite")
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(goose.DialectSQLite3, db, files, goose.WithDisableGlobalRegistry(true))
}

// Migrations are the steps by which a file's tables are made and unmade. Close ends them.
type Migrations struct {
	*goose.Provider
	db     *sql.DB
	unlock func()
}

// OpenMigrations gives the steps of a file, which is made where it is missing. Until Close
// nobody else opens it anew.
func OpenMigrations(ctx context.Context, path string) (*Migrations, error) {
	unlock, err := prepareFile(ctx, path)
	if err != nil {
		return nil, err
	}
	m := &Migrations{db: connect(path, "_txlock=immediate"), unlock: unlock}
	m.db.SetMaxOpenConns(1)
	if err = check(ctx, m.db); err == nil {
		m.Provider, err = newProvider(m.db)
	}
	if err != nil {
		return nil, openError(path, errors.Join(err, m.Close()))
	}
	return m, nil
}

// Made tells whether a step was ever taken.
func (m *Migrations) Made(ctx context.Context) (made bool, err error) {
	err = m.db.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'meta_keys')").Scan(&made)
	return made, err
}

// Close closes the file.
func (m *Migrations) Close() error {
	defer m.unlock()
	return m.db.Close()
}
