package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestExamples runs every folder of examples/ against the shared installation, with
// this binary as the command line. `make test` names the generator that openapi-client
// needs; it comes from PyPI.
func TestExamples(t *testing.T) {
	i := shared(t)
	scripts, err := filepath.Glob("../../examples/*/run.sh")
	if err != nil || len(scripts) < 5 {
		t.Fatalf("found %v, %v", scripts, err)
	}
	for _, script := range scripts {
		name := filepath.Base(filepath.Dir(script))
		t.Run(name, func(t *testing.T) {
			if name == "openapi-client" && os.Getenv("OPENAPI_PYTHON_CLIENT") == "" {
				if os.Getenv("CI") != "" {
					t.Fatal("OPENAPI_PYTHON_CLIENT does not name the generator: make test sets it")
				}
				t.Skip("OPENAPI_PYTHON_CLIENT does not name the generator")
			}
			c := exec.CommandContext(t.Context(), script)
			c.Env = append(os.Environ(), "ENVOKE_URL="+i.base, "ENVOKE="+os.Args[0], asMain+"=1")
			out, err := c.CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
			if bytes.HasPrefix(out, []byte("skipped: ")) {
				t.Skip(string(out))
			}
		})
	}
}
