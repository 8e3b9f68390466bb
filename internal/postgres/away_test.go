package postgres_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"envoke/internal/faas"
	"envoke/internal/postgres"
	"envoke/internal/testrig"
)

const secret = "s3cr%t:/@ü"

func TestOpenErrors(t *testing.T) {
	address := testrig.Postgres(t)
	open(t, address).Close()
	run(t, address, `DO $$ BEGIN CREATE ROLE reader LOGIN PASSWORD 'right'; EXCEPTION WHEN duplicate_object THEN NULL; END $$`)
	newer := testrig.Postgres(t)
	open(t, newer).Close()
	run(t, newer, "INSERT INTO public.goose_db_version (version_id, is_applied) VALUES (9000, true)")
	nowhere := mustParse(t, address)
	nowhere.Path = "/none"
	empty := testrig.Postgres(t)
	run(t, address, "DROP DATABASE IF EXISTS latin", "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0")
	latin := mustParse(t, address)
	latin.Path = "/latin"
	for name, test := range map[string]struct {
		address string
		want    []string
	}{
		"wrong password":   {as(t, address, "reader", secret), []string{`as user "reader"`, "the password is wrong"}},
		"unknown user":     {as(t, address, "nobody", secret), []string{`as user "nobody"`, "no such user"}},
		"unknown database": {nowhere.String(), []string{`database "none" at /`, `as user "postgres"`, "create it first"}},
		"newer tables":     {newer, []string{"upgrade Envoke"}},
		"another encoding": {latin.String(), []string{"the encoding LATIN1", "ENCODING 'UTF8'"}},
		"not the owner":    {as(t, empty, "reader", "right"), []string{"permission denied", "envoke migrate up"}},
		"nobody there":     {"postgres://ada:" + "pass" + "@127.0.0.1:1/envoke", []string{`database "envoke" at 127.0.0.1:1 as user "ada"`, "refused"}},
		"no such host":     {"postgresql://ada:pass@nowhere.invalid/envoke", []string{"nowhere.invalid:5432"}},
		"no address":       {"postgres://ada:s3cr/t@db/envoke", []string{"postgres://user:password@host:port/database"}},
		"another scheme":   {"mysql://ada:pass@db/envoke", []string{"postgres://user:password@host:port/database"}},
		"a bad parameter":  {"postgres://ada:pass@db/envoke?sslmode=perhaps", []string{"sslmode is invalid"}},
		"a bad size":       {"postgres://ada:s3cr3t@db/envoke?pool_max_conns=s3cr3t", []string{"pool_max_conns"}},
	} {
		t.Run(name, func(t *testing.T) {
			store, err := postgres.Open(t.Context(), test.address)
			if err == nil {
				store.Close()
				t.Fatal("opened")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
			for _, never := range []string{secret, mustEscape(secret), "s3cr", "pass@", "=pass", "\n"} {
				if strings.Contains(err.Error(), never) {
					t.Errorf("error %q says %q", err, never)
				}
			}
		})
	}
}

func mustEscape(password string) string {
	_, escaped, _ := strings.Cut(url.UserPassword("u", password).String(), ":")
	return escaped
}

// TestServerAway: an operator restarts the server under an open store.
func TestServerAway(t *testing.T) {
	server := testrig.NewPostgres(t)
	store := open(t, server.NewDatabase(t))
	defer store.Close()
	session, script := newSession("return 1")
	if err := store.CreateSession(t.Context(), session, &script); err != nil {
		t.Fatal(err)
	}
	server.Stop(t)
	for what, do := range everything(t, store, session) {
		if e := faas.AsError(do()); e.Code != faas.Unavailable {
			t.Errorf("%s with the server away: %v, want %s", what, e, faas.Unavailable)
		}
	}
	server.Start(t)
	testrig.Succeeds(t, func() error { return store.Ping(t.Context()) })
	if _, err := store.FindSession(t.Context(), session.ID); err != nil {
		t.Errorf("when the server is back: %v", err)
	}
}

// everything is a call of each kind: of one statement, of a transaction, of a copy.
func everything(t *testing.T, store *postgres.Store, session faas.Session) map[string]func() error {
	ctx := t.Context()
	return map[string]func() error{
		"ping": func() error { return store.Ping(ctx) },
		"find": func() error { _, err := store.FindSession(ctx, session.ID); return err },
		"create": func() error {
			another, script := newSession("return 2")
			return store.CreateSession(ctx, another, &script)
		},
		"list": func() error {
			_, _, err := store.ListFunctions(ctx, faas.FunctionQuery{Page: 1, PerPage: 1})
			return err
		},
		"append": func() error {
			return store.AppendRequestLogs(ctx, "access.log.1", 1, []faas.RequestLog{{SessionID: session.ID, StartedAt: time.Now()}})
		},
		"offset": func() error { _, err := store.LogOffset(ctx, "access.log.1"); return err },
		"sweep":  func() error { _, err := store.SweepRequestLogs(ctx, time.Now(), 10); return err },
	}
}

// TestConnectionsCut: whoever is cut off in the middle is told UNAVAILABLE, and the next call
// has another connection.
func TestConnectionsCut(t *testing.T) {
	address := testrig.Postgres(t)
	store := open(t, address)
	defer store.Close()
	session, _ := newSession("return 1")
	tx := lockSessions(t, address)
	found := make(chan error, 1)
	go func() { _, err := store.FindSession(t.Context(), session.ID); found <- err }()
	awaitBlocked(t, address, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE ")
	if e := faas.AsError(<-found); e.Code != faas.Unavailable {
		t.Errorf("cut off: %v, want %s", e, faas.Unavailable)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := store.FindSession(t.Context(), session.ID); !faas.IsNotFound(err) {
		t.Errorf("after that: %v, want NOT_FOUND", err)
	}
}

// TestTooManyConnections: the only connection that this user may have is busy.
func TestTooManyConnections(t *testing.T) {
	address := testrig.Postgres(t)
	open(t, address).Close()
	run(t, address, "DROP ROLE IF EXISTS few", "CREATE ROLE few LOGIN PASSWORD 'x' IN ROLE envoke_app")
	store := open(t, as(t, address, "few", "x"))
	defer store.Close()
	// The connection that the migrations were looked at by is closed, and counts until the
	// server has noticed.
	testrig.Eventually(t, "one connection", func() bool {
		return query[int](t, address, "SELECT count(*) FROM pg_stat_activity WHERE usename = 'few'") == 1
	})
	run(t, address, "ALTER ROLE few CONNECTION LIMIT 1")
	tx := lockSessions(t, address)
	found := make(chan error, 1)
	go func() { _, err := store.FindSession(t.Context(), "a"); found <- err }()
	awaitBlocked(t, address, "SELECT count(*) FROM pg_stat_activity WHERE ")
	_, err := store.FindSession(t.Context(), "b")
	if e := faas.AsError(err); e.Code != faas.Unavailable || !strings.Contains(e.Err.Error(), "53300") {
		t.Errorf("error is %v, want %s for too many connections", err, faas.Unavailable)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-found; !faas.IsNotFound(err) {
		t.Errorf("the call that had the connection: %v, want NOT_FOUND", err)
	}
}

// lockSessions makes every call that needs a session wait.
func lockSessions(t *testing.T, address string) pgx.Tx {
	t.Helper()
	tx, err := connect(t, address).Begin(t.Context())
	if err == nil {
		_, err = tx.Exec(t.Context(), "LOCK TABLE meta.sessions IN ACCESS EXCLUSIVE MODE")
	}
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

// awaitBlocked asks about connections that wait for a lock until there is one.
func awaitBlocked(t *testing.T, address, question string) {
	t.Helper()
	testrig.Eventually(t, "a call to wait", func() bool {
		return query[int](t, address, question+"datname = current_database() AND wait_event_type = 'Lock'") > 0
	})
}
