package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"envoke/internal/bench"
	"envoke/internal/envoytest"
	"envoke/internal/testrig"
)

// TestMain lets the test binary be the servers that a run starts.
func TestMain(m *testing.M) {
	if bench.Command(os.Args[1:]) != nil {
		main()
		return
	}
	goleak.VerifyTestMain(m)
}

func TestHelpNamesEveryCase(t *testing.T) {
	var stdout bytes.Buffer
	if err := run(t.Context(), []string{"--help"}, &stdout, nil); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"  a   ", "  h   ", "  wf  ", "-quick", "-check", "-only"} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("the help lacks %q", want)
		}
	}
}

func TestParse(t *testing.T) {
	s, err := parse([]string{"-quick", "-check", "-envoke-args", " --idle-workers  4"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !s.check || s.Rounds != 3 || s.Duration != 300*time.Millisecond || s.WarmUp != 500*time.Millisecond {
		t.Errorf("parsed %+v", s)
	}
	if diff := cmp.Diff([]string{"--idle-workers", "4"}, s.EnvokeArgs); diff != "" {
		t.Error(diff)
	}
	for _, args := range [][]string{
		{"-unknown"}, {"extra"}, {"-rounds", "0"}, {"-rate", "-1"}, {"-duration", "0s"}, {"-concurrency", "0"}, {"-changes", "0"}, {"-only", "java"},
	} {
		if _, err := parse(args, nil); err == nil || errors.Is(err, flag.ErrHelp) {
			t.Errorf("%q: error %v", args, err)
		}
	}
}

// A benchmark that takes longer is not run.
func TestTheWholeRunTakesLessThanTenMinutes(t *testing.T) {
	s, err := parse(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if planned := bench.Planned(s.Config); planned > 595*time.Second || planned < 5*time.Minute {
		t.Errorf("it takes %v", planned)
	}
}

func TestWithoutABuiltEnvokeTheErrorSaysWhatToDo(t *testing.T) {
	err := run(t.Context(), []string{"-envoke", "/nonexistent/envoke"}, nil, nil)
	if err == nil || !strings.Contains(err.Error(), "make build") {
		t.Errorf("error %v", err)
	}
}

func TestInterrupt(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	begun := writerFunc(func(p []byte) (int, error) {
		if bytes.Contains(p, []byte("warming up")) {
			cancel()
		}
		return len(p), nil
	})
	err := run(ctx, []string{"-bare", "-only", "js", "-envoy", envoytest.Binary(t)}, io.Discard, begun)
	if err == nil || err.Error() != "interrupted" {
		t.Errorf("error %v", err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// The bare cases on a real Envoy and a real Node, in rounds too short to mean
// anything.
func TestBareRun(t *testing.T) {
	_, err := runShort(t, "-bare", "-check", "-only", "js")
	// Nothing of Envoke was measured, so its targets are not met.
	if err == nil || !strings.Contains(err.Error(), "targets not met: f/b, f/c, g/b, e/d, g-f") {
		t.Errorf("error %v", err)
	}
}

// All cases, with Envoke as it is built and without what make installs for them. What databases
// and several machines cost takes longer; package bench has a test of a part of it.
func TestRun(t *testing.T) {
	t.Setenv("RUSTC", "")
	report, err := runShort(t, "-envoke", buildEnvoke(t), "-only", "js,python,wasm,peers,cache,auth,hooks,many")
	if err != nil {
		t.Fatal(err)
	}
	missing := map[string]bool{}
	for _, m := range report.Missing {
		missing[m.Case] = true
	}
	measured := map[string]int{}
	for _, result := range report.Results {
		measured[result.Case]++
		if result.Rounds[0].Requests == 0 {
			t.Errorf("%s, %s: no requests", result.Name, result.Load)
		}
	}
	for _, c := range bench.Cases() {
		want := 3 // loads
		switch {
		case missing[c.Key]:
			want = 0
		case c.Cold, c.Build:
			want = 1
		}
		if measured[c.Key] != want {
			t.Errorf("case %s was measured under %d loads, want %d", c.Key, measured[c.Key], want)
		}
	}
	checkMissing(t, missing)
	if n := len(report.Bursts); n != 5 || report.Bursts[n-1].Ready != report.Bursts[n-1].Requests {
		t.Errorf("bursts: %+v", report.Bursts)
	}
	for _, burst := range report.Bursts {
		if burst.Failed > 0 {
			t.Errorf("of %s %d failed: %s", burst.Name, burst.Failed, burst.Why)
		}
	}
	if d := report.Density; d == nil || d.Python != 20 || d.Nodejs != 8 || d.Registered != 200 || d.NodejsPSS <= d.PythonPSS || d.ColdP50 <= 0 || d.Among.Median <= 0 {
		t.Errorf("density: %+v", d)
	}
	for _, ratio := range report.Ratios {
		if !missing[ratio.Case] && !missing[ratio.Beside] && (ratio.ThirtyTwo.Median == 0 || ratio.One.Median == 0) {
			t.Errorf("%s/%s was not measured", ratio.Case, ratio.Beside)
		}
	}
}

// What databases and several machines cost, with few changes: half a minute on a machine that rests, most of which is
// starting them.
func TestRunOfState(t *testing.T) {
	if os.Getenv("ENVOKE_TEST_LONG") == "" {
		t.Skip("it takes half a minute or more: make test-long runs it, and package bench has a test of a part of it")
	}
	testrig.PostgresBin(t)
	testrig.RedisBin(t)
	cache, err := testrig.CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	report, err := runShort(t, "-envoke", buildEnvoke(t), "-only", "state", "-changes", "12", "-cache-dir", cache)
	if err != nil {
		t.Fatal(err)
	}
	s := report.State
	if s == nil || s.Changes == nil {
		t.Fatalf("not measured: %+v", report.Missing)
	}
	for _, r := range s.Requests {
		if r.Requests == 0 || r.PerSecond <= 0 {
			t.Errorf("no requests: %+v", r)
		}
	}
	if len(s.Requests) != 5 || s.Requests[3].Shared < 0.5 || s.Requests[4].Shared > 0.1 {
		t.Errorf("where results come from: %+v", s.Requests)
	}
	if l := s.Loaded; l.PerSecond <= 0 || l.Meanwhile <= 0 || l.Alone.Min <= 0 || l.CPUs["PostgreSQL"] < 0 {
		t.Errorf("rows under load: %+v", l)
	}
	c := s.Changes
	if c.Wrong > 0 || len(c.Seen) < 2 || c.Seen[0].Samples != 12*4 || c.Seen[1].Samples != 12*4 || len(c.Calls) != 3 {
		t.Errorf("changes: %+v", c)
	}
}

// checkMissing wants all that make installs to be missing. What the filter answers may
// be: it is in the binary only if make built it before.
func checkMissing(t *testing.T, missing map[string]bool) {
	t.Helper()
	missing = maps.Clone(missing)
	delete(missing, "cf")
	delete(missing, "cx")
	want := map[string]bool{"pb": true, "pd": true, "gd": true, "nb": true, "nd": true, "yb": true, "yd": true, "kb": true, "kd": true, "cd": true, "wr": true}
	if diff := cmp.Diff(want, missing); diff != "" {
		t.Errorf("missing (-want +got): %s", diff)
	}
}

// Rust source is compiled as many times as it takes for a median, and never found in a cache.
func TestRunOfBuilds(t *testing.T) {
	rustc := testrig.Rustc(t)
	cache, err := testrig.CacheDir() // which may have the crates
	if err != nil {
		t.Fatal(err)
	}
	report, err := runShort(t, "-envoke", buildEnvoke(t), "-only", "wasm", "-rustc", rustc, "-cache-dir", cache)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(report.Results, func(r bench.Result) bool { return r.Load == bench.Build })
	if i < 0 {
		t.Fatalf("no build was measured; missing: %+v", report.Missing)
	}
	got := report.Results[i]
	if got.Samples != 5 || got.Most != 1500 || got.P50.Min < 50 || got.CPU[bench.Interpreter].Min < 10_000 {
		t.Errorf("builds: %+v", got)
	}
	if !slices.ContainsFunc(report.Machine.Versions, func(v bench.Version) bool { return v.Of == "Rust" }) {
		t.Errorf("the compiler is not named: %+v", report.Machine.Versions)
	}
}

func buildEnvoke(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "envoke")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", path, "envoke/cmd/envoke")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build Envoke: %v\n%s", err, out)
	}
	return path
}

// A report is shown again as it was, and its page with it.
func TestFrom(t *testing.T) {
	dir := t.TempDir()
	first, second := filepath.Join(dir, "first.json"), filepath.Join(dir, "second.json")
	report := bench.Report{Settings: bench.Settings{Rounds: 3, Parts: bench.Parts()}, Missing: []bench.Missing{{Case: "kb", Why: "absent"}}}
	if err := writeJSON(first, report); err != nil {
		t.Fatal(err)
	}
	var stdout bytes.Buffer
	if err := run(t.Context(), []string{"-from", first, "-json", second, "-docs", dir}, &stdout, nil); err != nil {
		t.Fatal(err)
	}
	got, err := readJSON(second)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(report, got); diff != "" {
		t.Error(diff)
	}
	page, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil || !bytes.Contains(page, []byte("absent")) || !strings.Contains(stdout.String(), "absent") {
		t.Errorf("error %v, page %s, table %s", err, page, &stdout)
	}
	if err := run(t.Context(), []string{"-from", filepath.Join(dir, "nonexistent")}, nil, nil); err == nil {
		t.Error("no error for a report that is not there")
	}
}

// runShort returns the report that was written, even if the run failed.
func runShort(t *testing.T, args ...string) (report bench.Report, err error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bench.json")
	var stdout, stderr bytes.Buffer
	err = run(t.Context(), append([]string{
		"-rounds", "1", "-duration", "50ms", "-warm-up", "50ms", "-rate", "200", "-cold-starts", "2", "-functions", "20",
		"-envoy", envoytest.Binary(t), "-cache-dir", t.TempDir(), "-json", path,
	}, args...), &stdout, &stderr)
	content, readErr := os.ReadFile(path)
	if readErr != nil {
		t.Fatalf("no report: error %v\n%s", err, &stderr)
	}
	if err := json.Unmarshal(content, &report); err != nil {
		t.Fatal(err)
	}
	if text := stdout.String(); !strings.Contains(text, "Closed loop, 32 connections") && !strings.Contains(text, "Look-ups of a live session") {
		t.Errorf("no table: %s", &stdout)
	}
	return report, err
}
