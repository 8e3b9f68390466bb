package main

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"envoke/internal/testrig"
)

// TestStartupFaults: each is one line that says what to do.
func TestStartupFaults(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	_, port, err := net.SplitHostPort(busy.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "file")
	writeFile(t, file, "x")
	oldNode := script(t, `echo '{"Path":"/bin/sh","Version":"v18.1.0"}'`)
	otherEnvoy := script(t, "echo 'envoy  version: abc/1.30.0/Clean/RELEASE/BoringSSL'")
	for _, test := range []struct {
		name string
		args []string
		want []string // all in the error
	}{
		{"port in use", []string{"--port", port}, []string{port, "in use", "--port"}},
		{"operators' port in use", []string{"--admin-port", port}, []string{port, "in use", "--admin-port"}},
		{"no Node.js", []string{"--node", "/no/such/node"}, []string{"/no/such/node"}},
		{"an old Node.js", []string{"--node", oldNode}, []string{"18", "20"}},
		{"a wrong Envoy", []string{"--envoy", otherEnvoy}, []string{"1.30.0", "1.40.0"}},
		{"no such Envoy", []string{"--envoy", "/no/such/envoy"}, []string{"/no/such/envoy"}},
		{"a file in the folder's place", []string{"--data-dir", filepath.Join(file, "data")}, []string{"--data-dir"}},
		{"a read-only folder", []string{"--data-dir", "/sys/envoke"}, []string{"/sys/envoke", "--data-dir"}},
		{"a public bind", []string{"--host", "0.0.0.0"}, []string{"--insecure-public"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			i, err := newInstallation()
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = os.RemoveAll(filepath.Dir(i.dataDir)) }()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			err = run(ctx, append(append([]string{"serve"}, i.settings()...), test.args...), os.Getenv, &i.stdout, &i.stderr)
			if err == nil {
				t.Fatal("it started")
			}
			t.Log(err)
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error does not say %q: %v", want, err)
				}
			}
		})
	}
}

// TestOneControlPerDataFolder: a second one would read and delete the first one's
// access log.
func TestOneControlPerDataFolder(t *testing.T) {
	i := shared(t)
	second, err := newInstallation()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(filepath.Dir(second.dataDir)) }()
	args := append(append([]string{"serve"}, second.settings()...), "--data-dir", i.dataDir)
	err = run(t.Context(), args, os.Getenv, &second.stdout, &second.stderr)
	if err == nil || !strings.Contains(err.Error(), "another envoke uses the data folder") {
		t.Fatalf("a second envoke on the same data folder: %v", err)
	}
	i.isWell(t)
}

func script(t *testing.T, line string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	writeFile(t, path, "#!/bin/sh\n"+line+"\n")
	if err := os.Chmod(path, 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestOperatorsPort(t *testing.T) {
	i := shared(t)
	i.isWell(t)
	for path, want := range map[string]string{
		"/healthz":   "alive",
		"/readyz":    `"ready"`,
		"/debug/xds": `"version"`,
		"/metrics":   `envoke_requests_total{code="200",operation="initialize"}`,
	} {
		testrig.Eventually(t, path+" to say "+want, func() bool {
			r, err := send(http.MethodGet, i.operators+path, "")
			return err == nil && r.status == http.StatusOK && strings.Contains(string(r.body), want)
		})
	}
	r, err := send(http.MethodGet, i.operators+"/metrics", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"envoke_request_duration_seconds_bucket", "envoke_host_stage_duration_seconds_bucket",
		"envoke_pool_workers", "envoke_pool_cold_starts_total", "envoke_xds_nacks_total",
		"envoke_extproc_requests_total", "envoke_accesslog_lag_bytes",
	} {
		if !strings.Contains(string(r.body), name) {
			t.Errorf("/metrics has no %s", name)
		}
	}
}

func TestVersion(t *testing.T) {
	var out testrig.Text
	if err := run(t.Context(), []string{"version"}, os.Getenv, &out, &out); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "envoy 1.40.0") {
		t.Errorf("got %q", out.String())
	}
}
