package testrig

import (
	"os"
	"os/exec"
	"testing"
)

// Ruby names the Ruby of the tests: RUBY, else the one on PATH, else the one that
// `make ruby` fetches. Without any the test is skipped, and fails where CI is set.
func Ruby(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("ruby")
	for _, candidate := range []string{os.Getenv("RUBY"), path, os.Getenv("ENVOKE_TEST_RUBY")} {
		if candidate == "" {
			continue
		}
		if _, err = os.Stat(candidate); err == nil {
			return candidate
		}
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("Ruby's tests need a Ruby 3.0 or newer: %v", err)
	}
	t.Skipf("there is no Ruby 3.0 or newer (%v): put one on PATH, or run make ruby in Debian 12 and set ENVOKE_TEST_RUBY as make test does", err)
	return ""
}
