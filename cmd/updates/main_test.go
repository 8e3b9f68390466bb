package main

import (
	"strings"
	"testing"

	"envoke/internal/testrig"
)

// TestQuick has a real Envoy serve, and changes its routes for a moment.
func TestQuick(t *testing.T) {
	cache, err := testrig.CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	var out testrig.Text
	if err := run(t.Context(), []string{"-quick", "-cache-dir", cache}, &out); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if text := out.String(); !strings.Contains(text, "| 10 | ") || !strings.Contains(text, "| 1000 | ") {
		t.Errorf("no table:\n%s", text)
	}
}

func TestNumbers(t *testing.T) {
	if _, err := numbers("10,x"); err == nil || !strings.Contains(err.Error(), `"x"`) {
		t.Errorf("what is no number: %v", err)
	}
}
