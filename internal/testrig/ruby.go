package testrig

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Ruby is the Ruby of the tests: RUBY, else the one on PATH, else the one that
// `make ruby` fetches. Without any the test is skipped, and fails where CI is set.
func Ruby(t testing.TB) string {
	t.Helper()
	if path := FindRuby(); path != "" {
		return path
	}
	const missing = "there is no Ruby 3.0 or newer: put one on PATH or set RUBY to one; in Debian 12, make ruby fetches one"
	if os.Getenv("CI") != "" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}

// FindRuby is Ruby, or empty.
func FindRuby() string {
	if own := os.Getenv("RUBY"); own != "" {
		return own
	}
	if path, err := exec.LookPath("ruby"); err == nil {
		return path
	}
	dir, err := os.Getwd()
	for err == nil {
		if found, _ := filepath.Glob(filepath.Join(dir, ".envoke/cache/tools/ruby@*/ruby")); len(found) > 0 {
			return found[len(found)-1]
		}
		if filepath.Dir(dir) == dir {
			break
		}
		dir = filepath.Dir(dir)
	}
	return ""
}
