package postgres_test

import (
	"context"
	"fmt"
	"io/fs"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"envoke/internal/faas"
	"envoke/internal/postgres"
	"envoke/internal/storetest"
	"envoke/internal/testrig"
	"envoke/migrations"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testrig.WithPostgres(m)) }

func TestStore(t *testing.T) {
	var p testrig.Databases
	storetest.Run(t, func(t testing.TB, place string) storetest.Store { return open(t, p.Address(t, place)) })
}

// BenchmarkStore is on the Unix socket of a server of its own.
func BenchmarkStore(b *testing.B) {
	var p testrig.Databases
	storetest.Bench(b, func(t testing.TB, place string) storetest.Store { return open(t, p.Address(t, place)) })
}

// TestStoreAsApp: whoever owns the tables made them, and the program's own user has a role that
// owns nothing. Nor does it prepare statements, as behind a pooler.
func TestStoreAsApp(t *testing.T) {
	var p testrig.Databases
	storetest.Run(t, func(t testing.TB, place string) storetest.Store {
		address := p.Address(t, place)
		open(t, address).Close()
		run(t, address, `DO $$ BEGIN CREATE ROLE program LOGIN PASSWORD 'pr/gr:m' IN ROLE envoke_app;
			EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$`)
		return open(t, as(t, address, "program", "pr/gr:m")+"&default_query_exec_mode=exec")
	})
}

func open(t testing.TB, address string) *postgres.Store {
	t.Helper()
	store, err := postgres.Open(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// as is the address for another user.
func as(t testing.TB, address, user, password string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(user, password)
	return u.String()
}

// run runs statements beside the store.
func run(t testing.TB, address string, statements ...string) {
	t.Helper()
	conn := connect(t, address)
	for _, statement := range statements {
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatalf("%v: %s", err, statement)
		}
	}
}

func connect(t testing.TB, address string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

// query is the only value that a query gives.
func query[T any](t testing.TB, address, statement string, args ...any) (value T) {
	t.Helper()
	conn := connect(t, address)
	defer conn.Close(t.Context()) // now, since there are many queries and at most 200 connections
	if err := conn.QueryRow(t.Context(), statement, args...).Scan(&value); err != nil {
		t.Fatalf("%v: %s", err, statement)
	}
	return value
}

// TestTenStartAtOnce: each migration is applied once, and all ten serve.
func TestTenStartAtOnce(t *testing.T) {
	address := testrig.Postgres(t)
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			store, err := postgres.Open(t.Context(), address)
			if err != nil {
				t.Error(err)
				return
			}
			defer store.Close()
			if err := migrations.Seed(t.Context(), store); err != nil && !isConflict(err) {
				t.Error(err)
			}
			if err := store.AppendRequestLogs(t.Context(), "a", 1, []faas.RequestLog{{StartedAt: time.Now()}}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	files, err := fs.Glob(migrations.FS, "postgres/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	numbers := []string{"0"}
	for i := range files {
		numbers = append(numbers, strconv.Itoa(i+1))
	}
	want := strings.Join(numbers, " ")
	applied := query[string](t, address, "SELECT string_agg(version_id::text, ' ' ORDER BY id) FROM public.goose_db_version")
	if applied != want {
		t.Errorf("applied: %s, want %s", applied, want)
	}
	if rows := query[int](t, address, "SELECT count(*) FROM request_logs"); rows != 10 {
		t.Errorf("%d rows of 10 are there", rows)
	}
}

func isConflict(err error) bool { return faas.AsError(err).Code == faas.Conflict }

// TestUpgrade: functions of a database from before versions had descriptions, and
// aliases were there, and from before sessions had schemas.
func TestUpgrade(t *testing.T) {
	address := testrig.Postgres(t)
	steps, err := postgres.OpenMigrations(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer steps.Close()
	if _, err := steps.UpTo(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	run(t, address, "INSERT INTO meta.scripts (digest, language, source, created_at) VALUES ('d', 'nodejs', 'return 1', now())",
		`INSERT INTO meta.functions (language, title, description, tags, version, created_at, updated_at)
			VALUES ('nodejs', 'f', 'described', '{a}', 2, now(), now())`,
		"INSERT INTO meta.function_versions (function_id, version, script_digest, schema_definition, created_at) VALUES (1, 1, 'd', 'false', now()), (1, 2, 'd', NULL, now())",
		`INSERT INTO meta.sessions (id, language, title, script_hash, function_version, owner, created_at, expires_at, status)
			VALUES ('own', 'nodejs', 'f', 'd', 0, '', now(), now(), ''), ('first', 'nodejs', 'f', 'd', 1, '', now(), now(), ''), ('second', 'nodejs', 'f', 'd', 2, '', now(), now(), '')`)
	store := open(t, address)
	defer store.Close()
	for id, schema := range map[faas.SessionID]string{"own": "", "first": "false", "second": ""} {
		if session, err := store.FindSession(t.Context(), id); err != nil || string(session.Schema) != schema {
			t.Errorf("session %s has the schema %q (%v), want %q", id, session.Schema, err, schema)
		}
	}
	name := faas.Name{Language: faas.NodeJS, Title: "f"}
	got, err := store.FindFunction(t.Context(), faas.Ref{Name: name})
	if err != nil || got.Version != 2 || got.Description != "described" || len(got.Tags) != 1 {
		t.Errorf("the function is %+v, %v", got, err)
	}
	next, err := store.AddVersion(t.Context(), faas.Actor{}, faas.Function{Name: name, Script: faas.NewScript(faas.NodeJS, "return 3", nil)})
	if err != nil || next.Version != 3 {
		t.Errorf("the next version is %d, %v", next.Version, err)
	}
}

// TestDown: what is unmade can be made again, and nothing of ours is left between.
func TestDown(t *testing.T) {
	address := testrig.Postgres(t)
	store := open(t, address)
	store.Close()
	steps, err := postgres.OpenMigrations(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer steps.Close()
	if _, err := steps.DownTo(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	left := query[int](t, address, `SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname IN ('meta', 'analytics') OR n.nspname = 'public' AND c.relname NOT LIKE 'goose_db_version%'`)
	rules := query[int](t, address, "SELECT count(*) FROM pg_default_acl")
	functions := query[int](t, address, "SELECT count(*) FROM pg_proc WHERE proname LIKE 'envoke%'")
	if left+rules+functions > 0 {
		t.Errorf("%d tables and the like, %d rules of privileges and %d functions are left", left, rules, functions)
	}
	store = open(t, address)
	store.Close()
}

var key = faas.NewSessionKey()

func newSession(source string) (faas.Session, faas.Script) {
	script := faas.NewScript(faas.NodeJS, source, nil)
	return faas.Session{
		ID: key.NewID(faas.NodeJS, true), Name: faas.Name{Language: faas.NodeJS, Title: "t"}, Digest: script.Digest,
		Owner: "session", CreatedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour), Status: faas.Active,
	}, script
}

// TestRoles: people who read see neither keys nor code, and write nothing.
func TestRoles(t *testing.T) {
	address := testrig.Postgres(t)
	open(t, address).Close()
	may := func(role, table string) string {
		var all []string
		for _, privilege := range []string{"SELECT", "INSERT", "UPDATE", "DELETE"} {
			if query[bool](t, address, "SELECT has_table_privilege($1, $2, $3)", role, table, privilege) {
				all = append(all, strings.ToLower(privilege[:3]))
			}
		}
		return strings.Join(all, " ")
	}
	const all = "sel ins upd del"
	for _, test := range []struct{ table, app, readonly, backup string }{
		{"meta.keys", all, "", "sel"},
		{"meta.scripts", all, "", "sel"},
		{"meta.users", all, "", "sel"},
		{"meta.api_keys", all, "", "sel"},
		{"meta.sessions", all, "sel", "sel"},
		{"meta.function_aliases", all, "sel", "sel"},
		{"meta.modules", all, "", "sel"},
		{"meta.secrets", all, "", "sel"},
		{"meta.audit", "sel ins", "", "sel"},
		{"meta.configs", all, "", "sel"},
		{"meta.config_current", all, "", "sel"},
		{"public.request_logs", all, "sel", "sel"},
		{"public.error_logs", all, "sel", "sel"},
		{"public.pending_payloads", all, "", "sel"},
		{"analytics.runtime_metrics", all, "sel", "sel"},
		{"public.goose_db_version", "sel", "", "sel"},
		{"analytics.error_summary", all, "sel", "sel"},
	} {
		got := fmt.Sprintf("%s, %s, %s, %s", may("envoke_app", test.table), may("envoke_readonly", test.table),
			may("envoke_backup", test.table), may("envoke_admin", test.table))
		if want := fmt.Sprintf("%s, %s, %s, %s", test.app, test.readonly, test.backup, all); got != want {
			t.Errorf("%s: app, readonly, backup and admin may %s, want %s", test.table, got, want)
		}
	}
}

// TestOwnerWithoutRoles: who may not make roles gets the tables all the same.
func TestOwnerWithoutRoles(t *testing.T) {
	server := testrig.NewPostgres(t)
	address := server.NewDatabase(t)
	database := strings.TrimPrefix(mustParse(t, address).Path, "/")
	run(t, address, "CREATE ROLE owner LOGIN PASSWORD 'x'", "ALTER DATABASE "+database+" OWNER TO owner")
	store := open(t, as(t, address, "owner", "x"))
	defer store.Close()
	if roles := query[int](t, address, "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'envoke%'"); roles != 0 {
		t.Errorf("%d roles were made", roles)
	}
	if err := migrations.Seed(t.Context(), store); err != nil {
		t.Error(err)
	}
}

func mustParse(t testing.TB, address string) *url.URL {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
