package testrig

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"envoke/internal/localdb"
)

// PostgresServer is a PostgreSQL of a test's own, which may stop it and start it again.
type PostgresServer struct{ server *localdb.Postgres }

// The server that the tests of one binary share.
var (
	sharedMu     sync.Mutex // guards shared
	shared       *localdb.Postgres
	databaseName atomic.Int64
)

// Postgres is the address of a new, empty database, of which the test is the owner. The server
// is one for all tests of the binary, whose TestMain must give it to WithPostgres. Without
// PostgreSQL the test is skipped, and fails where CI is set.
func Postgres(t testing.TB) string {
	t.Helper()
	sharedMu.Lock()
	defer sharedMu.Unlock()
	if shared == nil {
		shared = openPostgres(t, false)
	}
	return PostgresServer{shared}.NewDatabase(t)
}

// WithPostgres is a run of tests at whose end the server of Postgres ends too.
func WithPostgres(m interface{ Run() int }) interface{ Run() int } { return withPostgres{m} }

type withPostgres struct{ tests interface{ Run() int } }

func (w withPostgres) Run() int {
	status := w.tests.Run()
	sharedMu.Lock()
	defer sharedMu.Unlock()
	if shared == nil {
		return status
	}
	if err := shared.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return status
}

// NewPostgres starts a server that the test may stop and start again. It ends with the test.
func NewPostgres(t testing.TB) *PostgresServer { t.Helper(); return newPostgres(t, false) }

// NewDurablePostgres starts a server that loses nothing when the machine does, as those of
// companies: for measuring what that costs.
func NewDurablePostgres(t testing.TB) *PostgresServer { t.Helper(); return newPostgres(t, true) }

func newPostgres(t testing.TB, durable bool) *PostgresServer {
	t.Helper()
	server := openPostgres(t, durable)
	t.Cleanup(func() { must(t, server.Close()) })
	return &PostgresServer{server}
}

// openPostgres starts a server that outlives the test's context: it is closed by its owner.
func openPostgres(t testing.TB, durable bool) *localdb.Postgres {
	t.Helper()
	bin := PostgresBin(t)
	server, err := localdb.OpenPostgres(context.Background(), localdb.PostgresOptions{Bin: bin, Durable: durable})
	if err != nil {
		t.Fatal(err)
	}
	return server
}

// PostgresBin is the folder of PostgreSQL's programs. Without it the test is skipped, and fails
// where CI is set.
func PostgresBin(t testing.TB) string { t.Helper(); return fetched(t, localdb.FindPostgres) }

// RedisBin is the program of Redis, as PostgresBin is PostgreSQL's.
func RedisBin(t testing.TB) string { t.Helper(); return fetched(t, localdb.FindRedis) }

// fetched is what make fetches to the cache. Without it the test is skipped, and fails where CI
// is set.
func fetched(t testing.TB, find func(cacheDir string) (string, error)) string {
	t.Helper()
	dir, err := CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	found, err := find(dir)
	switch {
	case err == nil:
		return found
	case os.Getenv("CI") != "":
		t.Fatal(err)
	}
	t.Skip(err)
	return ""
}

// Start starts the server and waits until it answers.
func (s PostgresServer) Start(t testing.TB) {
	t.Helper()
	must(t, s.server.Start(context.Background()))
}

// Stop ends the server as an operator's restart does: connections are told and closed.
func (s PostgresServer) Stop(t testing.TB) { t.Helper(); must(t, s.server.Stop()) }

// Kill ends the server as a crash does: nothing is finished, and Start recovers from the log.
func (s PostgresServer) Kill(t testing.TB) { t.Helper(); must(t, s.server.Kill()) }

// Address is that of a database, for the user postgres.
func (s PostgresServer) Address(database string) string { return s.server.Address(database) }

// NewDatabase makes a database and gives its address.
func (s PostgresServer) NewDatabase(t testing.TB) string {
	t.Helper()
	address, err := s.server.NewDatabase(context.Background(), fmt.Sprint("test", databaseName.Add(1)))
	must(t, err)
	return address
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
