package bench

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

func TestModelName(t *testing.T) {
	if got := modelName("processor : 0\nmodel name\t: Some CPU: fast\nmodel name : another\n"); got != "Some CPU: fast" {
		t.Errorf("got %q", got)
	}
}

func TestTotalMemory(t *testing.T) {
	for text, want := range map[string]int64{
		"MemTotal:       24683924 kB\nMemFree: 1 kB\n": 24683924 << 10,
		"MemFree: 1 kB\n": 0,
		"MemTotal:":       0,
		"":                0,
	} {
		if got := totalMemory(text); got != want {
			t.Errorf("%q: %d bytes, want %d", text, got, want)
		}
	}
}

func TestVersionsOfPackages(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"uvicorn-0.54.0.dist-info/METADATA":       "",
		"uvicorn_worker-0.4.0.dist-info/METADATA": "",
		"workerd/package.json":                    `{"name": "workerd", "version": "1.2.3"}`,
		"broken/package.json":                     `{`,
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := wheelVersion(dir, "uvicorn"); got != "0.54.0" {
		t.Errorf("uvicorn %q", got)
	}
	if got := wheelVersion(dir, "flask"); got != "" {
		t.Errorf("flask %q", got)
	}
	for name, want := range map[string]string{"workerd": "1.2.3", "broken": "", "absent": ""} {
		if got := packageVersion(filepath.Join(dir, name)); got != want {
			t.Errorf("%s %q, want %q", name, got, want)
		}
	}
}

// A binary that tells nothing has the revision of the current folder, if git knows one.
func TestRevision(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not installed")
	}
	if got := revision(t.Context(), "/bin/sh"); !regexp.MustCompile(`^([0-9a-f]{12,}(-dirty)?)?$`).MatchString(got) {
		t.Errorf("revision %q", got)
	}
}
