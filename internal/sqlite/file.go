package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	sqlite3 "modernc.org/sqlite/lib"
)

// prepareFile makes the folder and an empty file, and holds the lock under which
// the tables are brought up to date: goose has none of its own for SQLite.
// The lock is a file beside the database, because closing any descriptor of the
// database's own file would drop the locks that SQLite holds on it (POSIX).
func prepareFile(ctx context.Context, path string) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, openError(path, err)
	}
	lock, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, openError(path, err)
	}
	if err := flock(ctx, lock); err != nil {
		return nil, openError(path, errors.Join(err, lock.Close()))
	}
	unlock = func() { _ = lock.Close() } // and with it the lock
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		err = file.Close()
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		unlock()
		return nil, openError(path, err)
	}
	return unlock, nil
}

func flock(ctx context.Context, lock *os.File) error {
	retry := time.NewTicker(10 * time.Millisecond)
	defer retry.Stop()
	for {
		err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("another process is opening it: %w", ctx.Err())
		case <-retry.C:
		}
	}
}

// checkBudget bounds the look for damage at start. It is enough for some 20 MB (10,000
// sessions: 8 MB in 36 ms), and tables come before the request log, made last.
const checkBudget = 100 * time.Millisecond

// damage is what SQLite says is wrong with a file.
type damage string

func (d damage) Error() string { return string(d) }

// check looks for damage that would else be met in the middle of work. A file that
// is too large for checkBudget is looked at in part.
func check(ctx context.Context, db *sql.DB) error {
	ctx, cancel := context.WithTimeout(ctx, checkBudget)
	defer cancel()
	var found string
	err := db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&found)
	switch {
	case code(err) == sqlite3.SQLITE_INTERRUPT, errors.Is(err, context.DeadlineExceeded):
		return nil
	case err != nil:
		return err
	case found != "ok":
		_, where, _ := strings.Cut(found, "\n") // after the name of the database
		return damage(where)
	}
	return nil
}

// openError says what to do about the usual reasons.
func openError(path string, err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS), code(err) == sqlite3.SQLITE_READONLY:
		return fmt.Errorf("open database %s: the file or its folder is not writable: choose another data folder: %w", path, err)
	case code(err) == sqlite3.SQLITE_NOTADB, code(err) == sqlite3.SQLITE_CORRUPT, errors.As(err, new(damage)):
		return fmt.Errorf("the database %s is damaged (%w): restore a copy, or move it away to start anew", path, err)
	}
	return fmt.Errorf("open database %s: %w", path, err)
}
