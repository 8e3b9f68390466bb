package python

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"envoke/runtimes/interpreter"
)

func TestFindRefuses(t *testing.T) {
	tests := []struct {
		name string
		path string
		want string // the error, with PYTHON for the path
	}{
		{"none on PATH", "", "no python3 on PATH: install Python 3.10 or later, or set PYTHON to one"},
		{"nothing there", "/nonexistent/python", `PYTHON is "PYTHON", where there is no program: set it to a Python 3.10 or later`},
		{"too old", script(t, `echo '{"Path":"/bin/sh","Version":"3.9.18"}'`), "/bin/sh is Python 3.9.18, but 3.10 or later is needed: install it or set PYTHON to one"},
		{"another program", script(t, `echo hello`), "PYTHON does not run as Python (it gave another answer than Python would): set PYTHON to a Python 3.10 or later"},
	}
	t.Setenv("PATH", t.TempDir())
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := Find(t.Context(), test.path)
			if err == nil {
				t.Fatal("it was found")
			}
			got := err.Error()
			if test.path != "" {
				got = strings.Replace(got, test.path, "PYTHON", 1)
			}
			if got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestFindResolvesAShim(t *testing.T) {
	want, err := findPython()
	if err != nil {
		t.Fatal(err)
	}
	got, err := Find(t.Context(), script(t, `exec "`+want.Path+`" "$@"`))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// script writes a shell script that needs nothing of PATH.
func script(t *testing.T, body string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "python")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// A host that starts again finds the worker's file in its place, and makes a spoilt one
// good.
func TestPrepareWritesOneFile(t *testing.T) {
	found, err := findPython()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "cache")
	first, err := Prepare(t.Context(), dir, found)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(first.Argv[len(first.Argv)-1], []byte("spoilt"), 0o644); err != nil {
		t.Fatal(err)
	}
	second, err := Prepare(t.Context(), dir, found)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, second); diff != "" {
		t.Error(diff)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) != 1 {
		t.Errorf("the folder holds %v, %v", left, err)
	}
	start(t, second)
}

func TestPrepareSaysWhatFailed(t *testing.T) {
	_, err := Prepare(t.Context(), t.TempDir(), interpreter.Interpreter{Path: script(t, "echo broken >&2; exit 1")})
	if err == nil || err.Error() != "compile the worker: exit status 1: broken" {
		t.Errorf("got %v", err)
	}
}
