package postgres_test

import (
	"testing"

	"envoke/internal/postgres"
	"envoke/internal/storetest"
	"envoke/internal/testrig"
)

// TestDownFromNamespaces: what was in the default one survives that there are none, and that
// there are some again; what was in another is not shown to all.
func TestDownFromNamespaces(t *testing.T) {
	address := testrig.Postgres(t)
	store := open(t, address)
	storetest.FillNamespaces(t, store)
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	steps, err := postgres.OpenMigrations(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = steps.DownTo(t.Context(), 16); err != nil {
		t.Fatal(err)
	}
	if err := steps.Close(); err != nil {
		t.Fatal(err)
	}
	store = open(t, address)
	defer store.Close()
	storetest.MigratedNamespaces(t, store)
}
