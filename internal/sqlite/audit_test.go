package sqlite_test

import (
	"database/sql"
	"path/filepath"
	"strings"
	"testing"

	"envoke/internal/faas"
	"envoke/internal/storetest"
	"envoke/migrations"
)

// TestUnaudited: what cannot be audited does not happen.
func TestUnaudited(t *testing.T) {
	path := filepath.Join(t.TempDir(), "envoke.db")
	store := open(t, path)
	defer store.Close()
	storetest.RunUnaudited(t, store, func(refused bool) {
		if refused {
			alter(t, path, "CREATE TRIGGER refuse BEFORE INSERT ON meta_audit BEGIN SELECT RAISE(ABORT, 'refused'); END")
		} else {
			alter(t, path, "DROP TRIGGER refuse")
		}
	})
}

// TestAuditStays: nobody changes or deletes rows, who has the file open either.
func TestAuditStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "envoke.db")
	store := open(t, path)
	defer store.Close()
	if err := migrations.Seed(t.Context(), store); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, statement := range []string{
		"UPDATE meta_audit SET user_id = 'eve'",
		"UPDATE meta_audit SET details = '{}' WHERE number = 1",
		"DELETE FROM meta_audit",
		"DELETE FROM meta_audit WHERE number = 1",
		"INSERT OR REPLACE INTO meta_audit SELECT number, at, action, 'other', '', '', '', '', '', '', '{}' FROM meta_audit",
	} {
		if _, err := db.ExecContext(t.Context(), statement); err == nil || !strings.Contains(err.Error(), "never") {
			t.Errorf("%s: %v", statement, err)
		}
	}
	entries, total, err := store.ListAudit(t.Context(), faas.AuditQuery{Page: 1, PerPage: 10})
	if err != nil || total != 3 {
		t.Fatalf("%d rows, %v", total, err)
	}
	for _, e := range entries {
		if e.Action != faas.FunctionRegister || e.Actor != faas.Itself() {
			t.Errorf("the row of a seed is %+v", e)
		}
	}
}
