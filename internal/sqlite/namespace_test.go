package sqlite_test

import (
	"path/filepath"
	"testing"

	"envoke/internal/sqlite"
	"envoke/internal/storetest"
)

// TestDownFromNamespaces: what was in the default one survives that there are none, and that
// there are some again; what was in another is not shown to all.
func TestDownFromNamespaces(t *testing.T) {
	path := filepath.Join(t.TempDir(), "envoke.db")
	store := open(t, path)
	storetest.FillNamespaces(t, store)
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	steps, err := sqlite.OpenMigrations(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = steps.DownTo(t.Context(), 16); err != nil {
		t.Fatal(err)
	}
	if err := steps.Close(); err != nil {
		t.Fatal(err)
	}
	store = open(t, path)
	defer store.Close()
	storetest.MigratedNamespaces(t, store)
}
