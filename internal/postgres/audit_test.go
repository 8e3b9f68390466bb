package postgres_test

import (
	"strings"
	"testing"

	"envoke/internal/faas"
	"envoke/internal/storetest"
	"envoke/internal/testrig"
	"envoke/migrations"
)

// TestUnaudited: what cannot be audited does not happen.
func TestUnaudited(t *testing.T) {
	address := testrig.Postgres(t)
	store := open(t, address)
	defer store.Close()
	storetest.RunUnaudited(t, store, func(refused bool) {
		if refused {
			run(t, address, "CREATE TRIGGER refuse BEFORE INSERT ON meta.audit FOR EACH STATEMENT EXECUTE FUNCTION meta.envoke_audit_stays()")
		} else {
			run(t, address, "DROP TRIGGER refuse ON meta.audit")
		}
	})
}

// TestAuditStays: nobody changes or deletes rows, who owns the table either.
func TestAuditStays(t *testing.T) {
	address := testrig.Postgres(t)
	store := open(t, address)
	defer store.Close()
	if err := migrations.Seed(t.Context(), store); err != nil {
		t.Fatal(err)
	}
	conn := connect(t, address)
	for _, statement := range []string{
		"UPDATE meta.audit SET user_id = 'eve'",
		"DELETE FROM meta.audit WHERE number = 1",
		"DELETE FROM meta.audit WHERE false",
		"TRUNCATE meta.audit",
		"INSERT INTO meta.audit (number, at, action, target, user_id, proof, address, request_id) OVERRIDING SYSTEM VALUE " +
			"VALUES (1, now(), '', '', '', '', '', '') ON CONFLICT (number) DO UPDATE SET user_id = 'eve'",
	} {
		if _, err := conn.Exec(t.Context(), statement); err == nil || !strings.Contains(err.Error(), "never") {
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
