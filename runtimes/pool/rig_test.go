package pool

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"envoke/internal/faas"
	"envoke/internal/testrig"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testRuntime runs testdata/worker.mjs, which does as params say.
func testRuntime(t testing.TB) Runtime {
	t.Helper()
	node, err := exec.LookPath("node")
	if err == nil {
		node, err = filepath.EvalSymlinks(node)
	}
	if err != nil {
		t.Fatal("node is needed: ", err)
	}
	script, err := filepath.Abs("testdata/worker.mjs")
	if err != nil {
		t.Fatal(err)
	}
	return Runtime{Language: faas.NodeJS, Argv: []string{node, "--max-old-space-size=24", script}, Read: []string{script, os.TempDir()}} // the second for hold
}

// serve makes a pool and serves it until the test ends.
func serve(t testing.TB, opt Options) *Pool {
	t.Helper()
	if opt.Argv == nil {
		opt.Runtime = testRuntime(t)
	}
	if opt.Sandbox.Scratch == "" {
		opt.Sandbox.Scratch = t.TempDir()
	}
	p := New(opt)
	testrig.Serve(t, p.Serve)
	return p
}

func script(source string) faas.Script { return faas.NewScript(faas.NodeJS, source, nil) }

func work(source string) Work { return Work{Script: script(source), Owner: "owner"} }

// do makes an invocation that does what the worker of the tests knows by that name.
func do(act string, more ...any) Invocation {
	params := map[string]any{"do": act}
	for i := 0; i < len(more); i += 2 {
		params[more[i].(string)] = more[i+1]
	}
	raw, _ := json.Marshal(params)
	return Invocation{RequestID: "r-" + act, Deadline: time.Now().Add(10 * time.Second), Params: raw}
}

func within(d time.Duration, inv Invocation) Invocation {
	inv.Deadline, inv.Timeout = time.Now().Add(d), d
	return inv
}

// wantError is what a caller may read of an error; Details without long texts.
type wantError struct {
	Code    faas.Code
	Message string
	Details map[string]any
}

func checkError(t *testing.T, err error, want wantError) {
	t.Helper()
	var e *faas.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want a *faas.Error", err)
	}
	if diff := cmp.Diff(want, wantError{e.Code, e.Message, e.Details}); diff != "" {
		t.Error(diff)
	}
}

func pid(t *testing.T, p *Pool, w Work) int {
	t.Helper()
	result, err := p.Invoke(t.Context(), w, do("pid"))
	if err != nil {
		t.Fatal(err)
	}
	var got struct{ PID, Loads int }
	if err := json.Unmarshal(result.JSON, &got); err != nil {
		t.Fatal(err)
	}
	if got.Loads != 1 {
		t.Errorf("the worker has loaded %d times, want once", got.Loads)
	}
	return got.PID
}

// hold makes an invocation that lasts until release is called.
func hold(t *testing.T) (inv Invocation, release func()) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "release")
	return do("hold", "file", file), func() {
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Error(err)
		}
	}
}

// awaitCalls waits until as many calls are under way and wait for their turn.
func awaitCalls(t *testing.T, p *Pool, running, waiting int) {
	t.Helper()
	testrig.Succeeds(t, func() error {
		if got := p.Stats(); got.Calls != running || got.Waiting != waiting {
			return fmt.Errorf("%+v, want %d calls and %d waiting", got, running, waiting)
		}
		return nil
	})
}
