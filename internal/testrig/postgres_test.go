package testrig_test

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"envoke/internal/testrig"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testrig.WithPostgres(m)) }

// TestPostgres: each test has a database of its own, which a restart of its server keeps.
func TestPostgres(t *testing.T) {
	if one, two := testrig.Postgres(t), testrig.Postgres(t); one == two {
		t.Errorf("two databases have the address %s", one)
	}
	server := testrig.NewPostgres(t)
	address := server.NewDatabase(t)
	do := func(statement string) error {
		conn, err := pgx.Connect(t.Context(), address)
		if err != nil {
			return err
		}
		defer conn.Close(t.Context())
		_, err = conn.Exec(t.Context(), statement)
		return err
	}
	if err := do("CREATE TABLE kept ()"); err != nil {
		t.Fatal(err)
	}
	server.Stop(t)
	if err := do("SELECT 1"); err == nil {
		t.Error("a server that was stopped answers")
	}
	server.Start(t)
	if err := do("SELECT FROM kept"); err != nil {
		t.Error(err)
	}
}
