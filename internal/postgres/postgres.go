// Package postgres is the store of installations that are more than one machine: functions,
// sessions, scripts and request logs in a PostgreSQL database. Several processes, on several
// machines, may have it open at once.
package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"envoke/internal/faas"
)

// connectTimeout bounds one attempt to connect where the address does not.
const connectTimeout = 5 * time.Second

// Store is an open database. Statements are prepared when a connection first needs them.
type Store struct {
	pool *pgxpool.Pool
}

// Open connects to the database of an address as libpq takes it
// (postgres://user:password@host:port/database), and brings its tables up to date. No error
// has the password in it.
func Open(ctx context.Context, address string) (*Store, error) {
	config, err := parse(address)
	if err != nil {
		return nil, err
	}
	if err := migrate(ctx, config.ConnConfig); err != nil {
		return nil, openError(config.ConnConfig, err)
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, openError(config.ConnConfig, err)
	}
	s := &Store{pool: pool}
	if err := s.keepPartitions(ctx, nil); err != nil {
		pool.Close()
		return nil, openError(config.ConnConfig, err)
	}
	return s, nil
}

// Close waits for what is under way and closes all connections.
func (s *Store) Close() error {
	s.pool.Close()
	return nil
}

// Ping tells whether the store answers.
func (s *Store) Ping(ctx context.Context) error {
	var one int
	return wrap("ping store", s.pool.QueryRow(ctx, "SELECT 1 FROM meta.keys LIMIT 1").Scan(&one), pgx.ErrNoRows)
}

// SessionKey is the key of the installation's session ids: made once, the same
// for every process that opens the database.
func (s *Store) SessionKey(ctx context.Context) (faas.SessionKey, error) {
	var key faas.SessionKey
	_, err := s.pool.Exec(ctx, "INSERT INTO meta.keys (name, value, created_at) VALUES ('session', $1, $2) ON CONFLICT DO NOTHING",
		[]byte(faas.NewSessionKey()), time.Now())
	if err == nil {
		err = s.pool.QueryRow(ctx, "SELECT value FROM meta.keys WHERE name = 'session'").Scan((*[]byte)(&key))
	}
	return key, wrap("read the session key", err)
}

// attempts bounds how often what the server ended is begun anew.
const attempts = 5

// update runs do in a transaction that is committed if do returns nil. It may run do again.
func (s *Store) update(ctx context.Context, do func(pgx.Tx) error) error {
	return again(func() error { return pgx.BeginFunc(ctx, s.pool, do) })
}

// exec runs one statement and tells how many rows it changed.
func (s *Store) exec(ctx context.Context, statement string, args ...any) (changed int, err error) {
	err = again(func() error {
		done, err := s.pool.Exec(ctx, statement, args...)
		changed = int(done.RowsAffected())
		return err
	})
	return changed, err
}

// again tries anew what two who waited for each other were ended for, and rows whose month got
// a table while they were on their way to the default one.
func again(do func() error) (err error) {
	for range attempts {
		err = do()
		switch codeOf(err) {
		case deadlockDetected, serializationFailure, checkViolation:
		default:
			return err
		}
	}
	return err
}
