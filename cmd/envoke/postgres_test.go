package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"envoke/internal/testrig"
	"envoke/migrations"
)

// TestPostgres: an installation on PostgreSQL does what one on SQLite does, and another process
// on the same database goes on with all of it.
func TestPostgres(t *testing.T) {
	address := withPassword(t, testrig.Postgres(t))
	file := filepath.Join(t.TempDir(), "address")
	writeFile(t, file, " "+address+"\n")
	t.Setenv("DATABASE_URL_FILE", file)

	first := serve(t)
	id := first.initialize(t, "return event.params.n + 1")
	if got := first.execute(t, id, `{"n":41}`).result(t); got != "42" {
		t.Errorf("the result is %s", got)
	}
	const body = `{"language":"nodejs","title":"kept","script_content":"return %VERSION%"}`
	register(t, first, http.MethodPost, "/api/v1/functions", strings.Replace(body, "%VERSION%", "1", 1), http.StatusCreated)
	register(t, first, http.MethodPut, "/api/v1/functions/nodejs-kept", strings.Replace(body, "%VERSION%", "2", 1), http.StatusOK)
	register(t, first, http.MethodPut, "/api/v1/functions/nodejs-kept/aliases/old", `{"version":1}`, http.StatusOK)
	conn := connect(t, address)
	testrig.Eventually(t, "the rows of the requests", func() bool {
		var rows, counted int
		err := conn.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM request_logs WHERE operation = 'execute' AND language_title = 'nodejs-test'),
			(SELECT execution_count FROM meta.sessions WHERE id = $1)`, id).Scan(&rows, &counted)
		if err != nil {
			t.Fatal(err)
		}
		return rows == 1 && counted == 1
	})
	if health := first.send(t, http.MethodGet, "/health", ""); !bytes.Contains(health.body, []byte(`"postgres":"ok"`)) {
		t.Errorf("health is %s", health.body)
	}
	if err := first.shutdown(); err != nil {
		t.Fatal(err)
	}
	if printed := first.stdout.String() + first.stderr.String(); strings.Contains(printed, "s3cr") {
		t.Errorf("the password was printed:\n%s", printed)
	}

	second := serve(t)
	if got := second.execute(t, id, `{"n":1}`).result(t); got != "2" {
		t.Errorf("after a restart the result is %s", got)
	}
	for name, want := range map[string]string{"nodejs-kept": "2", "nodejs-kept@1": "1", "nodejs-kept:old": "1"} {
		if got := second.send(t, http.MethodPost, "/function/"+name, "{}"); string(got.body) != want {
			t.Errorf("after a restart %s answers %s, want %s", name, got.body, want)
		}
	}
	var versions struct {
		Versions []json.RawMessage `json:"versions"`
	}
	r := second.send(t, http.MethodGet, "/api/v1/functions/nodejs-kept/versions", "")
	if err := json.Unmarshal(r.body, &versions); err != nil || len(versions.Versions) != 2 {
		t.Errorf("versions are %s", r.body)
	}
}

// TestPostgresAway: without the database known sessions go on, and the rows of their requests
// wait; when it is back all is as before.
func TestPostgresAway(t *testing.T) {
	server := testrig.NewPostgres(t)
	address := server.NewDatabase(t)
	i := serve(t, "--database-url", address)
	id := i.initialize(t, "return event.params.n + 1")
	i.execute(t, id, `{"n":1}`).result(t)
	server.Stop(t)
	for range 5 {
		if got := i.execute(t, id, `{"n":41}`).result(t); got != "42" {
			t.Errorf("with the database away the result is %s", got)
		}
	}
	i.send(t, http.MethodPost, "/api/v1/initialize", `{"script_content":"return 2"}`, "Language-Title", "nodejs-new").isError(t, http.StatusServiceUnavailable, "UNAVAILABLE", "extproc")
	if health := i.send(t, http.MethodGet, "/health", ""); health.status != http.StatusOK ||
		!bytes.Contains(health.body, []byte(`"status":"degraded"`)) || !bytes.Contains(health.body, []byte(`"postgres":"down"`)) {
		t.Errorf("with the database away health is %d %s", health.status, health.body)
	}
	server.Start(t)
	conn := connect(t, address)
	testrig.Eventually(t, "the rows of all executes", func() bool {
		var rows, counted int
		err := conn.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM request_logs WHERE operation = 'execute'), (SELECT execution_count FROM meta.sessions)`).Scan(&rows, &counted)
		if err != nil {
			t.Fatal(err)
		}
		return rows == 6 && counted == 6
	})
	i.initialize(t, "return 2")
}

func register(t *testing.T, i *installation, method, path, body string, want int) {
	t.Helper()
	if r := i.send(t, method, path, body); r.status != want {
		t.Fatalf("%s %s: %d %s", method, path, r.status, r.body)
	}
}

// withPassword is the address for a user who owns the database and needs a password.
func withPassword(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	conn := connect(t, address)
	user := "test_" + strings.TrimPrefix(u.Path, "/")
	for _, statement := range []string{
		"CREATE ROLE " + user + " LOGIN PASSWORD 's3cr/t'", "ALTER DATABASE " + strings.TrimPrefix(u.Path, "/") + " OWNER TO " + user,
	} {
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	u.User = url.UserPassword(user, "s3cr/t")
	return u.String()
}

func connect(t *testing.T, address string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

// TestMigrateOfANewerEnvoke says so, whatever is asked of it.
func TestMigrateOfANewerEnvoke(t *testing.T) {
	address := testrig.Postgres(t)
	migrate := func(verb string) error {
		var out testrig.Text
		return run(t.Context(), []string{"migrate", "--data-dir", t.TempDir(), "--database-url", address, verb}, os.Getenv, &out, &out)
	}
	if err := migrate("up"); err != nil {
		t.Fatal(err)
	}
	if _, err := connect(t, address).Exec(t.Context(), "INSERT INTO public.goose_db_version (version_id, is_applied) VALUES (900, true)"); err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"up", "status", "down"} {
		if err := migrate(verb); err == nil || !strings.Contains(err.Error(), "a newer Envoke made the tables (step 900") {
			t.Errorf("%s: %v", verb, err)
		}
	}
}

// TestMigrate: both kinds of database go up and down by the same words.
func TestMigrate(t *testing.T) {
	files, err := fs.Glob(migrations.FS, "postgres/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	all, last := len(files), path.Base(files[len(files)-1])
	for name, database := range map[string]func(*testing.T) string{
		"sqlite":   func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "envoke.db") },
		"postgres": func(t *testing.T) string { return testrig.Postgres(t) },
	} {
		t.Run(name, func(t *testing.T) {
			data := t.TempDir()
			address := database(t)
			migrate := func(wantError string, args ...string) string {
				t.Helper()
				var out testrig.Text
				args = append([]string{"migrate", "--data-dir", data, "--database-url", address}, args...)
				err := run(t.Context(), args, os.Getenv, &out, &out)
				if (err == nil) != (wantError == "") || err != nil && !strings.Contains(err.Error(), wantError) {
					t.Errorf("%s: error %v, want %q", args[len(args)-1], err, wantError)
				}
				return out.String()
			}
			counts := func(when, word string, want int) {
				t.Helper()
				if out := migrate("", "status"); strings.Count(out, word) != want {
					t.Errorf("%s %d steps should be %s:\n%s", when, want, word, out)
				}
			}
			counts("at first", "pending", all)
			if out := migrate("", "up"); strings.Count(out, "took 000") != all {
				t.Errorf("up: %s", out)
			}
			if out := migrate("", "up"); !strings.Contains(out, "nothing to do") {
				t.Errorf("up again: %s", out)
			}
			counts("after up", "applied", all)
			migrate("say --yes", "down")
			counts("after a down that was refused", "applied", all)
			if out := migrate("", "down", "--yes"); out != "undid "+last+"\n" {
				t.Errorf("down: %s", out)
			}
			counts("after down", "applied", all-1)
			migrate("", "down", "--yes", "--to", "0")
			counts("after down to nothing", "pending", all)
		})
	}
}
