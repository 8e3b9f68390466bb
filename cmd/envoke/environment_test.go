package main

import (
	"os"
	"path/filepath"
	"testing"
)

// Whatever its folder was made with, the access log is not for others.
func TestLogFolderIsClosedToOthers(t *testing.T) {
	for before, want := range map[os.FileMode]os.FileMode{0: 0o700, 0o755: 0o750, 0o700: 0o700} {
		c := &Config{DataDir: t.TempDir(), CacheDir: t.TempDir()}
		given := settings{config: c}
		folder := filepath.Dir(c.accessLogPath())
		if before != 0 {
			if err := os.Mkdir(folder, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(folder, before); err != nil {
				t.Fatal(err)
			}
		}
		if err := makeFolders(given); err != nil {
			t.Fatal(err)
		}
		stat, err := os.Stat(folder)
		if err != nil {
			t.Fatal(err)
		}
		if got := stat.Mode().Perm(); got != want {
			t.Errorf("made with %o: it is %o, want %o", before, got, want)
		}
	}
}
