package sqlite_test

import (
	"bufio"
	"bytes"
	"database/sql"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pressly/goose/v3"
	"go.uber.org/goleak"

	"envoke/internal/faas"
	"envoke/internal/sqlite"
	"envoke/internal/storetest"
	"envoke/migrations"
)

// childEnv makes the test binary a process that creates sessions until it is killed.
const childEnv = "ENVOKE_TEST_CREATE_SESSIONS_IN"

func TestMain(m *testing.M) {
	if path := os.Getenv(childEnv); path != "" {
		createSessions(path)
		return
	}
	goleak.VerifyTestMain(m)
}

func TestStore(t *testing.T) { storetest.Run(t, openIn) }

func BenchmarkStore(b *testing.B) { storetest.Bench(b, openIn) }

func openIn(t testing.TB, place string) storetest.Store {
	return open(t, filepath.Join(place, "envoke.db"))
}

func open(t testing.TB, path string) *sqlite.Store {
	t.Helper()
	store, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func TestOpenMakesPrivateFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b", "envoke?#% ü.db")
	store := open(t, path)
	defer store.Close()
	for name, want := range map[string]fs.FileMode{
		filepath.Dir(path): 0o700 | fs.ModeDir, path: 0o600, path + "-wal": 0o600, path + "-shm": 0o600,
	} {
		file, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if file.Mode() != want {
			t.Errorf("%s has mode %v, want %v", name, file.Mode(), want)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	junk := filepath.Join(dir, "junk.db")
	if err := os.WriteFile(junk, []byte(strings.Repeat("this is no database\n", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	newer := filepath.Join(dir, "newer.db")
	open(t, newer).Close()
	alter(t, newer, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (9000, 1)")
	readOnly := filepath.Join(dir, "readonly")
	if err := os.Mkdir(readOnly, 0o500); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ path, want string }{
		"no database":    {path: junk, want: "is damaged (file is not a database (26)): restore a copy"},
		"newer tables":   {path: newer, want: "upgrade Envoke"},
		"read-only":      {path: filepath.Join(readOnly, "envoke.db"), want: "not writable"},
		"file as folder": {path: filepath.Join(junk, "envoke.db"), want: "not a directory"},
		"folder as file": {path: dir, want: "open database " + dir},
	} {
		t.Run(name, func(t *testing.T) {
			asNobody(t)
			store, err := sqlite.Open(t.Context(), test.path)
			if err == nil {
				store.Close()
				t.Fatal("opened")
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %q does not say %q", err, test.want)
			}
		})
	}
}

// asNobody takes root's power over files from this test's thread, for good: the
// thread ends with the test.
func asNobody(t *testing.T) {
	runtime.LockOSThread()
	if os.Geteuid() == 0 && strings.HasSuffix(t.Name(), "read-only") {
		if err := syscall.Setfsuid(65534); err != nil {
			t.Skip("cannot give up root's rights: ", err)
		}
	}
}

// A page that the disk has lost is named at once, not when somebody meets it.
func TestDamagedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "envoke.db")
	open(t, path).Close()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const page = 4096
	for name, at := range map[string]int{"the header": 0, "the schema": 100, "a table": 2 * page, "the last page": len(whole) - page, "the end": -1} {
		t.Run(name, func(t *testing.T) {
			broken := bytes.Clone(whole)
			if at < 0 {
				broken = broken[:len(broken)/2]
			} else {
				copy(broken[at:], strings.Repeat("garbage!", 8))
			}
			path := filepath.Join(t.TempDir(), "envoke.db")
			if err := os.WriteFile(path, broken, 0o600); err != nil {
				t.Fatal(err)
			}
			store, err := sqlite.Open(t.Context(), path)
			if err == nil {
				store.Close()
				t.Fatal("opened")
			}
			got := err.Error()
			if !strings.HasPrefix(got, "the database "+path+" is damaged (") || !strings.HasSuffix(got, "): restore a copy, or move it away to start anew") ||
				strings.Contains(got, "\n") {
				t.Errorf("error is %q", got)
			}
		})
	}
}

func alter(t *testing.T, path, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}

// TestLockedStoreIsUnavailable: another process holds the write lock.
func TestLockedStoreIsUnavailable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "envoke.db")
	store := open(t, path)
	defer store.Close()
	other, err := sql.Open("sqlite", path+"?_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	tx, err := other.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	_, err = store.SweepSessions(t.Context(), time.Now(), 1)
	if e := faas.AsError(err); e.Code != faas.Unavailable {
		t.Errorf("error is %v, want %s", err, faas.Unavailable)
	}
	if waited := time.Since(start); waited > 10*time.Second {
		t.Errorf("waited %v for the lock", waited)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if _, err := store.SweepSessions(t.Context(), time.Now(), 1); err != nil {
		t.Errorf("after the lock was given back: %v", err)
	}
}

// TestUpgrade: functions of a database from before versions had descriptions, and
// aliases were there, and from before sessions had schemas.
func TestUpgrade(t *testing.T) {
	path := filepath.Join(t.TempDir(), "envoke.db")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	files, err := fs.Sub(migrations.FS, "sqlite")
	if err != nil {
		t.Fatal(err)
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, db, files, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := provider.UpTo(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	db.Close()
	alter(t, path, "INSERT INTO meta_scripts (digest, language, source, created_at) VALUES ('d', 'nodejs', 'return 1', 1)")
	alter(t, path, `INSERT INTO meta_functions (id, language, title, description, tags, version, created_at, updated_at)
		VALUES (1, 'nodejs', 'f', 'described', '["a"]', 2, 1, 2)`)
	alter(t, path, "INSERT INTO meta_function_versions (function_id, version, script_digest, schema_definition, created_at) VALUES (1, 1, 'd', 'false', 1), (1, 2, 'd', NULL, 2)")
	alter(t, path, `INSERT INTO meta_sessions (id, language, title, script_digest, function_version, owner, created_at, expires_at, status)
		VALUES ('own', 'nodejs', 'f', 'd', 0, '', 1, 2, ''), ('first', 'nodejs', 'f', 'd', 1, '', 1, 2, ''), ('second', 'nodejs', 'f', 'd', 2, '', 1, 2, '')`)

	store := open(t, path)
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

// TestKill9 kills a process that creates sessions: each that it acknowledged is there.
func TestKill9(t *testing.T) {
	path := filepath.Join(t.TempDir(), "envoke.db")
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), childEnv+"="+path)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var acknowledged []faas.SessionID
	for lines := bufio.NewScanner(out); lines.Scan(); {
		acknowledged = append(acknowledged, faas.SessionID(lines.Text()))
		if len(acknowledged) == 300 {
			if err := child.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = child.Wait() // it was killed
	if len(acknowledged) < 300 {
		t.Fatalf("the process created %d sessions only", len(acknowledged))
	}
	store := open(t, path)
	defer store.Close()
	for _, id := range acknowledged {
		session, err := store.FindSession(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := store.FindScript(t.Context(), session.Digest); err != nil {
			t.Fatal(err)
		}
	}
}
