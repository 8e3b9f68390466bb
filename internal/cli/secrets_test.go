package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"envoke/internal/faas"
)

// TestSetSecret: the value comes by standard input or a file, and is shown nowhere.
func TestSetSecret(t *testing.T) {
	file := filepath.Join(t.TempDir(), "value")
	if err := os.WriteFile(file, []byte("canary\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, stdin string
		args        []string
		want        string // that is sent; empty: nothing
		fault       string
	}{
		{"standard input", "canary\r\n", nil, `{"value":"canary"}`, ""},
		{"without a newline", "canary <&>", nil, `{"value":"canary <&>"}`, ""},
		{"a file", "other", []string{"--from-file", file}, `{"value":"canary\n"}`, ""},
		{"no file", "", []string{"--from-file", file + "s"}, "", "no such file"},
		{"too long", strings.Repeat("canary", faas.MaxSecret), nil, "", "longer than 65536"},
		{"no text", "canary\xff", nil, "", "no text in UTF-8"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := serve(t, nil)
			got := run(t, s.URL, test.stdin, append([]string{"secrets", "set", "DB_URL"}, test.args...)...)
			if test.fault != "" {
				if got.err == nil || !strings.Contains(got.err.Error(), test.fault) || ExitCode(got.err) != exitUsage || len(s.requests) != 0 {
					t.Errorf("%v; sent %v", got.err, s.requests)
				}
			} else if got.err != nil || strings.Join(s.requests, "") != "PUT /api/v1/secrets/DB_URL "+test.want {
				t.Errorf("%v; sent %v, want %s", got.err, s.requests, test.want)
			}
			if got.err != nil {
				got.stderr += got.err.Error()
			}
			if strings.Contains(got.stdout+got.stderr, "canary") {
				t.Errorf("the value is shown: %s%s", got.stdout, got.stderr)
			}
		})
	}
	s := serve(t, nil)
	if got := run(t, s.URL, "", "secrets", "list"); !strings.Contains(got.stdout, "DB_URL  -      2026-03-01 12:30:15  2026-03-02 12:30:15") {
		t.Errorf("%v: %s", got.err, got.stdout)
	}
	if got := run(t, s.URL, "", "secrets", "delete", "DB_URL"); got.err != nil || got.stdout != "DB_URL is deleted\n" {
		t.Errorf("%v: %s", got.err, got.stdout)
	}
}
