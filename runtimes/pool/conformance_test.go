package pool

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"envoke/internal/faas"
	"envoke/runtimes/conformance"
	"envoke/runtimes/frame"
	"envoke/runtimes/nodejs"
	"envoke/runtimes/python"
)

// What a worker promises holds through the pool and in the sandbox too.
func TestPoolConforms(t *testing.T) {
	for _, runtime := range []Runtime{javaScript(t), pythonRuntime(t)} {
		t.Run(string(runtime.Language), func(t *testing.T) { conform(t, runtime) })
	}
}

func conform(t *testing.T, runtime Runtime) {
	pools := &conforming{pools: map[int]*Pool{}, logs: map[string][]conformance.Entry{}}
	for _, maxResult := range []int{1 << 20, 10, 26} {
		pools.pools[maxResult] = serve(t, Options{
			Runtime: runtime, Idle: 2, MaxWorkers: 8, MaxResult: maxResult, Log: pools.log,
		})
	}
	conformance.Run(t, runtime.Language, func(t *testing.T) conformance.Worker {
		return &pooled{conforming: pools, language: runtime.Language, owner: t.Name()}
	})
}

// What Node.js says of a socket that it may not open tells its user nothing.
func TestNoNetworkIsSaid(t *testing.T) {
	p := serve(t, Options{Runtime: javaScript(t), Idle: 1})
	for source, want := range map[string]string{
		"await fetch('http://127.0.0.1:65000')":                                      "fetch failed: connect EPERM 127.0.0.1:65000",
		"await fetch('http://nowhere.invalid')":                                      "fetch failed: getaddrinfo E",
		"require('http').get('http://[::1]:65000'); await new Promise(() => {})":     "connect EPERM ::1:65000",
		"require('net').createServer().listen(0); await new Promise(() => {})":       "listen EPERM: operation not permitted",
		"await require('dns').promises.resolve('nowhere.invalid')":                   "queryA ECONNREFUSED nowhere.invalid",
		"require('dgram').createSocket('udp4').bind(0); await new Promise(() => {})": "bind EPERM 0.0.0.0",
	} {
		_, err := p.Invoke(t.Context(), work(source), within(10*time.Second, Invocation{}))
		var e *faas.Error
		if !errors.As(err, &e) || e.Code != faas.RuntimeError {
			t.Fatalf("%s: got %v", source, err)
		}
		if !strings.HasPrefix(e.Message, want) || !strings.HasSuffix(e.Message, " (functions have no network: socket() is not permitted)") {
			t.Errorf("%s: %q, want %q and the reason", source, e.Message, want)
		}
	}
}

func javaScript(t testing.TB) Runtime {
	t.Helper()
	found, err := nodejs.Find(t.Context(), os.Getenv("NODE"))
	if err != nil {
		t.Fatal(err)
	}
	command, err := nodejs.Prepare(t.TempDir(), found, 0)
	if err != nil {
		t.Fatal(err)
	}
	return Runtime{Language: faas.NodeJS, Argv: command.Argv, Env: command.Env}
}

func pythonRuntime(t testing.TB) Runtime {
	t.Helper()
	found, err := python.Find(t.Context(), os.Getenv("PYTHON"))
	if err != nil {
		t.Fatal(err)
	}
	command, err := python.Prepare(t.Context(), t.TempDir(), found)
	if err != nil {
		t.Fatal(err)
	}
	return Runtime{Language: faas.Python, Argv: command.Argv, Env: command.Env}
}

// conforming is a pool for each bound of results, which all cases share.
type conforming struct {
	pools map[int]*Pool

	mu   sync.Mutex
	logs map[string][]conformance.Entry // by owner
}

func (c *conforming) log(line LogLine) {
	c.mu.Lock()
	defer c.mu.Unlock()
	level := strings.ToLower(line.Level.String())
	c.logs[line.Owner] = append(c.logs[line.Owner], conformance.Entry{Level: level, Text: line.Text})
}

func (c *conforming) takeLogs(owner string) []conformance.Entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer delete(c.logs, owner)
	return c.logs[owner]
}

// pooled is one owner's work in a pool, as the suite's Worker.
type pooled struct {
	*conforming
	language faas.Language
	owner    string
	pool     *Pool
	work     Work
	filename string // what the case calls its code: the pool's name for it is its own
	form     frame.Form
}

// Check implements conformance.Worker.
func (p *pooled) Check(t *testing.T, code frame.Code) conformance.Outcome {
	p.pool, p.filename = p.pools[code.MaxResult], code.Filename
	p.work = Work{Script: faas.NewScript(p.language, code.Source, nil), Owner: p.owner}
	form, err := p.pool.Check(t.Context(), p.work.Script)
	p.form = form
	return p.outcome(t, err, conformance.Outcome{Form: &form})
}

// Load implements conformance.Worker. A pool does not tell the form again.
func (p *pooled) Load(t *testing.T, _ frame.Code) conformance.Outcome {
	return p.outcome(t, p.pool.Load(t.Context(), p.work), conformance.Outcome{Form: &p.form})
}

// Invoke implements conformance.Worker.
func (p *pooled) Invoke(t *testing.T, event json.RawMessage) conformance.Outcome {
	var parts struct{ Params, Context json.RawMessage }
	if err := json.Unmarshal(event, &parts); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	deadline, _ := ctx.Deadline()
	result, err := p.pool.Invoke(ctx, p.work, Invocation{Deadline: deadline, Params: parts.Params, Context: parts.Context})
	return p.outcome(t, err, conformance.Outcome{Result: result.JSON})
}

// outcome is good unless there was an error, which it makes the worker's again.
func (p *pooled) outcome(t *testing.T, err error, good conformance.Outcome) conformance.Outcome {
	t.Helper()
	logs := p.takeLogs(p.owner)
	if err == nil {
		good.Logs = logs
		return good
	}
	var e *faas.Error
	if !errors.As(err, &e) {
		t.Fatal(err)
	}
	if e.Details["type"] == "WorkerExited" {
		return conformance.Outcome{Exited: true, Logs: logs}
	}
	failure := frame.Failure{Kind: kindOf(t, e), Message: e.Message}
	failure.Type, _ = e.Details["type"].(string)
	failure.Line, _ = e.Details["line"].(int)
	failure.Column, _ = e.Details["column"].(int)
	stack, _ := e.Details["stack_trace"].(string)
	failure.Stack = strings.ReplaceAll(stack, filename(p.language), p.filename)
	return conformance.Outcome{Failure: &failure, Logs: logs}
}

func kindOf(t *testing.T, e *faas.Error) frame.FailureKind {
	t.Helper()
	if e.Details["limit"] == "memory" {
		return frame.MemoryFailure
	}
	kinds := map[faas.Code]frame.FailureKind{
		faas.InitializationError: frame.LoadFailure,
		faas.RuntimeError:        frame.ThrownFailure,
		faas.ResourceExhausted:   frame.OutputFailure,
		faas.InvalidParams:       frame.ParamsFailure,
	}
	kind, ok := kinds[e.Code]
	if !ok {
		t.Fatal(e)
	}
	return kind
}
