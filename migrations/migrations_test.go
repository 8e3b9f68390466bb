package migrations_test

import (
	"io/fs"
	"path"
	"slices"
	"testing"

	"envoke/migrations"
)

// TestSameNumbers: a step has one number in every database.
func TestSameNumbers(t *testing.T) {
	names := func(database string) (names []string) {
		files, err := fs.Glob(migrations.FS, database+"/*.sql")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			names = append(names, path.Base(file))
		}
		return names
	}
	if sqlite, postgres := names("sqlite"), names("postgres"); !slices.Equal(sqlite, postgres) || len(sqlite) == 0 {
		t.Errorf("SQLite has %v, PostgreSQL %v", sqlite, postgres)
	}
}
