package rust

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A crate that is not what was pinned is not used, wherever it comes from.
func TestCratesArePinned(t *testing.T) {
	c := crates[0]
	packed := t.TempDir()
	kept := filepath.Join(packed, c.name+"-"+c.version+".crate")
	if err := os.WriteFile(kept, []byte("another"), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // so that it is not fetched either
	if err := c.unpack(ctx, packed, t.TempDir()); err == nil || !strings.Contains(err.Error(), kept) {
		t.Errorf("%v, want a hint at %s", err, kept)
	}
}

func TestOldCratesAreRemoved(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	age := map[string]time.Duration{
		"crates-used": 48 * time.Hour, "crates-1": time.Hour, "crates-2": 2 * time.Hour, "crates-3": 3 * time.Hour, "crates-4": 4 * time.Hour,
		"begun-now": time.Second, "begun-once": 2 * time.Hour, "packed": 48 * time.Hour,
	}
	for name, old := range age {
		path := filepath.Join(dir, name)
		if err := os.Mkdir(path, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, now, now.Add(-old)); err != nil {
			t.Fatal(err)
		}
	}
	if err := removeOldCrates(dir, filepath.Join(dir, "crates-used")); err != nil {
		t.Fatal(err)
	}
	for name := range age {
		_, err := os.Stat(filepath.Join(dir, name))
		if gone := name == "crates-4" || name == "begun-once"; gone != os.IsNotExist(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
