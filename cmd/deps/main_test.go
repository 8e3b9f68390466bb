package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRun: with what the tools wrote when there was a hole, when there was none, and when
// their databases were away.
func TestRun(t *testing.T) {
	const (
		skipped = `echo '{"dependencies": [{"name": "left", "skip_reason": "Dependency not found on PyPI"}], "fixes": []}'`
		good    = `echo '{"dependencies": [{"name": "left", "version": "1.0", "vulns": []}], "fixes": []}'`
		mixed   = `echo '{"dependencies": [{"name": "left", "version": "1.0", "vulns": []}, {"name": "right", "skip_reason": "not found"}], "fixes": []}'`
		bad     = `echo '{"dependencies": [{"name": "left", "version": "1.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.1"], "aliases": [], "description": ""}]}]}'; exit 1`
		away    = `echo 'Traceback' >&2; echo 'no such host' >&2; exit 1`
	)
	for _, test := range []struct {
		name, vuln, pip string
		strict          bool
		err             error
		says, not       string
	}{
		{"all is well", "exit 0", good, true, nil, "looked at all 2", "NOT"},
		{"a hole in Go", "echo 'Vulnerability #1: GO-1'; exit 3", good, false, errHoles, "GO-1", "NOT"},
		{"a hole in Python", "exit 0", bad, false, errHoles, "left 1.0 of requirements.txt: KNOWN HOLE PYSEC-1, mended in 1.1", "NOT"},
		{"a hole in Python, and Go's database away", away, bad, false, errHoles, "PYSEC-1", ""},
		{"both away", away, skipped, false, nil, "NOTHING WAS LOOKED AT", "looked at all"},
		{"both away, and that is not enough", away, skipped, true, errNotSeen, "NOTHING WAS LOOKED AT", "looked at all"},
		{"Go's away", away, good, false, nil, "LOOKED AT IN PART: 1, NOT LOOKED AT: 1", "looked at all"},
		{"Python's away", "exit 0", away, true, errNotSeen, "requirements.txt: NOT LOOKED AT: no such host", "looked at all"},
		{"some of Python's", "exit 0", mixed, false, nil, "Python package right of requirements.txt: NOT LOOKED AT: not found", "looked at all"},
		{"a tool that writes nonsense", "exit 0", "echo 1", false, nil, "NOT LOOKED AT: the tool says nothing", "looked at all"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			vuln, pip := script(t, dir, "vuln", test.vuln), script(t, dir, "pip", test.pip)
			var out strings.Builder
			args := []string{"-govulncheck", vuln, "-python", pip, fmt.Sprint("-strict=", test.strict), "requirements.txt"}
			if err := run(t.Context(), args, &out); !errors.Is(err, test.err) {
				t.Errorf("error is %v, want %v", err, test.err)
			}
			if got := out.String(); !strings.Contains(got, test.says) || test.not != "" && strings.Contains(got, test.not) {
				t.Errorf("it says\n%s", got)
			}
		})
	}
	var out strings.Builder
	if err := run(t.Context(), []string{"-govulncheck", "/no/such/tool", "-python", "/no/such/tool", "list"}, &out); err != nil || strings.Count(out.String(), "NOT LOOKED AT: fork/exec /no/such/tool") != 2 {
		t.Errorf("without tools: %v, and it says\n%s", err, out.String())
	}
}

func script(t *testing.T, dir, name, text string) (path string) {
	t.Helper()
	path = filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}
