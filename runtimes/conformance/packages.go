package conformance

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"envoke/internal/testrig"
)

// layers have the packages that cases bring: their files stand for what pins them.
type layers struct{ t *testing.T }

// Use implements pool.Layers.
func (l layers) Use(_ context.Context, files map[string]string) (dir string, release func(), err error) {
	return writePackages(l.t, files), func() {}, nil
}

func writePackages(t *testing.T, files map[string]string) (dir string) {
	t.Helper()
	dir = testrig.OpenDir(t)
	for path, content := range files {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
