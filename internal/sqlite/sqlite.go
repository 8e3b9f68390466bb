// Package sqlite is the store of a single machine: functions, sessions, scripts
// and request logs in one SQLite file. Several processes of the machine may have
// the file open at once.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"time"

	_ "modernc.org/sqlite" // the driver

	"envoke/internal/faas"
)

// readers bounds the connections that read. Reads are look-ups of microseconds;
// more connections than cores would only hold more page caches.
const readers = 4

// Store is an open database. SQLite takes one writer at a time, so there is one
// connection for writes, and writers queue for it in Go, where a context can end
// the wait. Readers never wait for it (WAL).
type Store struct {
	write *sql.DB
	read  *sql.DB
	statements
}

// Open opens the database file, creating it and its folder where they are missing
// (readable by this user alone: the file holds the session key and everybody's
// code), and brings its tables up to date.
func Open(ctx context.Context, path string) (*Store, error) {
	unlock, err := prepareFile(ctx, path)
	if err != nil {
		return nil, err
	}
	defer unlock()
	s := &Store{write: connect(path, "_txlock=immediate"), read: connect(path, "_pragma=query_only(1)")}
	s.write.SetMaxOpenConns(1)
	s.read.SetMaxOpenConns(readers)
	s.read.SetMaxIdleConns(readers)
	if err := s.start(ctx, path); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Store) start(ctx context.Context, path string) error {
	if err := check(ctx, s.write); err != nil {
		return openError(path, err)
	}
	if err := migrate(ctx, s.write); err != nil {
		return openError(path, err)
	}
	if err := s.prepare(ctx, s.write, s.read); err != nil {
		return openError(path, err)
	}
	return nil
}

// connect makes a pool without touching the file yet.
//
// With synchronous=NORMAL a commit in WAL mode is written but not synced. What was
// committed survives the death of the process (kill -9 too), since the kernel has
// it; a machine that loses power may lose the last commits, never consistency.
// Syncing each commit would cost an initialize some milliseconds.
func connect(path, parameter string) *sql.DB {
	const pragmas = "?_pragma=busy_timeout(2000)&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)" +
		"&_pragma=foreign_keys(1)&_pragma=journal_size_limit(67108864)&"
	file := url.URL{Scheme: "file", Opaque: url.PathEscape(path)}
	db, err := sql.Open("sqlite", file.String()+pragmas+parameter)
	if err != nil {
		panic(err) // the driver's name is a constant
	}
	return db
}

// Close closes the database; the last process to do so folds the WAL into the file.
func (s *Store) Close() error {
	if err := errors.Join(s.read.Close(), s.write.Close()); err != nil {
		return fmt.Errorf("close store: %w", err)
	}
	return nil
}

// Ping tells whether the store answers.
func (s *Store) Ping(ctx context.Context) error {
	var one int
	return wrap("ping store", s.read.QueryRowContext(ctx, "SELECT 1 FROM meta_keys LIMIT 1").Scan(&one), sql.ErrNoRows)
}

// SessionKey is the key of the installation's session ids: made once, the same
// for every process that opens the file.
func (s *Store) SessionKey(ctx context.Context) (faas.SessionKey, error) {
	var key faas.SessionKey
	err := s.update(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx,
			"INSERT INTO meta_keys (name, value, created_at) VALUES ('session', ?, ?) ON CONFLICT DO NOTHING",
			[]byte(faas.NewSessionKey()), micros(time.Now()))
		if err != nil {
			return err
		}
		return tx.QueryRowContext(ctx, "SELECT value FROM meta_keys WHERE name = 'session'").Scan((*[]byte)(&key))
	})
	return key, wrap("read the session key", err)
}

// update runs do in a transaction that is committed if do returns nil.
func (s *Store) update(ctx context.Context, do func(*sql.Tx) error) error {
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := do(tx); err != nil {
		_ = tx.Rollback() // err is what matters; a broken connection is dropped
		return err
	}
	return tx.Commit()
}
