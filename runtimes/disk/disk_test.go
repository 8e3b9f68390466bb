package disk

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSweep(t *testing.T) {
	dir := t.TempDir()
	for i, name := range []string{"c", "a", "b"} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, make([]byte, 10), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, time.Time{}, time.Unix(int64(i), 0)); err != nil {
			t.Fatal(err)
		}
	}
	if err := Sweep(dir, 20); err != nil {
		t.Fatal(err)
	}
	left, _ := filepath.Glob(dir + "/*")
	if diff := cmp.Diff([]string{dir + "/a", dir + "/b"}, left); diff != "" {
		t.Error(diff)
	}
	if err := Sweep(filepath.Join(dir, "missing"), 0); err != nil {
		t.Error(err)
	}
}
