package nodejs

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"envoke/runtimes/interpreter"
)

func TestFindResolvesAShim(t *testing.T) {
	node, err := findNode()
	if err != nil {
		t.Fatal(err)
	}
	shim := script(t, `exec "`+node.Path+`" "$@"`)
	got, err := Find(t.Context(), shim)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(node, got); diff != "" {
		t.Error(diff)
	}
}

func TestFindLooksOnPath(t *testing.T) {
	node, err := findNode()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", filepath.Dir(node.Path))
	if got, err := Find(t.Context(), ""); err != nil || !cmp.Equal(got, node) {
		t.Errorf("got %v, %v; want %v", got, err, node)
	}
}

func TestFindRefuses(t *testing.T) {
	tests := []struct {
		name string
		node string
		want string // the error, with NODE for the path
	}{
		{"none on PATH", "", "no node on PATH: install Node.js 20 or later, or set NODE to one"},
		{"nothing there", "/nonexistent/node", `NODE is "NODE", where there is no program: set it to a Node.js 20 or later`},
		{"too old", script(t, `echo '{"Path":"/bin/sh","Version":"v18.20.1"}'`), "/bin/sh is Node.js v18.20.1, but 20 or later is needed: install it or set NODE to one"},
		{"another program", script(t, `echo hello`), "NODE does not run as Node.js (it gave another answer than Node.js would): set NODE to a Node.js 20 or later"},
		{"a program that fails", script(t, `echo 'no such option: -e' >&2; echo more >&2; exit 3`), "NODE does not run as Node.js (exit status 3: no such option: -e): set NODE to a Node.js 20 or later"},
	}
	t.Setenv("PATH", t.TempDir())
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := Find(t.Context(), test.node)
			if err == nil {
				t.Fatal("it was found")
			}
			got := err.Error()
			if test.node != "" {
				got = strings.Replace(got, test.node, "NODE", 1)
			}
			if got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

// script writes a shell script that needs nothing of PATH.
func script(t *testing.T, body string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "node")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPrepareWritesTheWorkerOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	node := interpreter.Interpreter{Path: "/opt/node"}
	first, err := Prepare(dir, node, 0)
	if err != nil {
		t.Fatal(err)
	}
	file := first.Argv[len(first.Argv)-1]
	before, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	second, err := Prepare(dir, node, 0)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, second); diff != "" {
		t.Error(diff)
	}
	if after, err := os.Stat(file); err != nil || !os.SameFile(before, after) {
		t.Errorf("the file was written again: %v", err)
	}
	if err := os.WriteFile(file, []byte("spoilt"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Prepare(dir, node, 0); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != bundle() {
		t.Errorf("a spoilt file was kept: %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) != 1 {
		t.Errorf("the folder holds %v, %v", left, err)
	}
}

func TestPrepareBoundsTheHeap(t *testing.T) {
	got, err := Prepare(t.TempDir(), interpreter.Interpreter{Path: "/opt/node"}, 256)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"/opt/node", "--experimental-vm-modules", "--no-warnings", "--max-old-space-size=256"}
	if diff := cmp.Diff(want, got.Argv[:len(got.Argv)-1]); diff != "" {
		t.Error(diff)
	}
}

func TestPrepareSaysWhatFailed(t *testing.T) {
	_, err := Prepare(filepath.Join(script(t, ""), "below a file"), interpreter.Interpreter{}, 0)
	if err == nil || !strings.HasPrefix(err.Error(), "write the worker: ") {
		t.Errorf("got %v", err)
	}
}

// The properties of the form scanner are written in its own language.
func TestScanner(t *testing.T) {
	node, err := findNode()
	if err != nil {
		t.Fatal(err)
	}
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), node.Path, "--experimental-vm-modules", "--no-warnings", "--test", "testdata/scan.test.js").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
