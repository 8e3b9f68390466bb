package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"envoke/internal/faas"
	"envoke/internal/testrig"
	"envoke/runtimes/frame"
	"envoke/runtimes/pool"
)

// An Engine runs code for its owners, as hosts want it.
type Engine interface {
	Check(context.Context, faas.Script) (frame.Form, error)
	Load(context.Context, pool.Work) error
	Invoke(context.Context, pool.Work, pool.Invocation) (pool.Result, error)
}

// RunEngine runs the cases that have a program in the language, each with an owner of
// its own: what is promised of a worker holds through what stands around it too. It
// opens an engine for each bound of results, in bytes of JSON, that a case wants; each
// passes on what functions log, has their packages from layers and lives until t ends.
func RunEngine(t *testing.T, language faas.Language, open func(maxResult int, log func(pool.LogLine), layers pool.Layers) Engine) {
	owned := logs{entries: map[string][]Entry{}}
	engines := map[int]Engine{}
	for _, file := range files(t) {
		for _, c := range read(t, file, language) {
			if bound := c.maxResult(); engines[bound] == nil {
				engines[bound] = open(bound, owned.add, layers{t})
			}
		}
	}
	run(t, language, func(t *testing.T, c Case) Worker {
		o := &owner{engines: engines, logs: &owned, name: t.Name(), language: language, packages: c.Packages}
		if c.Limits != nil {
			o.limits = *c.Limits
		}
		return o
	})
}

// owner is one case's work in an engine, as its Worker.
type owner struct {
	engines  map[int]Engine // by their bound of results
	logs     *logs
	name     string
	language faas.Language
	limits   Limits
	packages map[string]string

	engine   Engine
	work     pool.Work
	filename string // what the case calls its code: engines have a name of their own for it
	form     frame.Form
}

// Check implements Worker.
func (o *owner) Check(t *testing.T, code frame.Code) Outcome {
	t.Helper()
	var options json.RawMessage
	language := o.language
	switch language {
	case faas.Rust:
		options = json.RawMessage(`{"target": "wasm32-wasip1"}`) // the source is a module already
	case RustSource:
		language, options = faas.Rust, json.RawMessage(`{"optimization_level": "debug"}`) // it compiles faster
	}
	o.engine, o.filename = o.engines[code.MaxResult], code.Filename
	o.work = pool.Work{
		Script: faas.NewScript(language, code.Source, options), Owner: o.name,
		MemoryMB: o.limits.MemoryMB, CPU: time.Duration(o.limits.CPUMS) * time.Millisecond,
	}
	environment := faas.Environment{}
	for name, text := range code.Environment {
		environment[name] = faas.Variable{Text: text}
	}
	o.work.Environment = environment.Resolve(nil)
	if o.packages != nil {
		o.work.Script = o.work.Script.With(marshal(t, o.packages))
	}
	form, err := o.engine.Check(t.Context(), o.work.Script)
	o.form = form
	return o.outcome(t, err, Outcome{Form: &form})
}

// Load implements Worker. An engine does not tell the form again.
func (o *owner) Load(t *testing.T, _ frame.Code) Outcome {
	t.Helper()
	return o.outcome(t, o.engine.Load(t.Context(), o.work), Outcome{Form: &o.form})
}

// Invoke implements Worker.
func (o *owner) Invoke(t *testing.T, event json.RawMessage, take int) Outcome {
	t.Helper()
	parts := unmarshal[struct {
		Params, Context json.RawMessage
		Retain          int
	}](t, event)
	timeout := askTimeout
	if o.limits.TimeoutMS > 0 {
		timeout = time.Duration(o.limits.TimeoutMS) * time.Millisecond
	}
	ctx, cancel := context.WithTimeout(t.Context(), askTimeout)
	defer cancel()
	result, err := o.engine.Invoke(ctx, o.work, pool.Invocation{
		Deadline: time.Now().Add(timeout), Timeout: timeout, Params: parts.Params, Context: parts.Context, Stream: true,
		Retain: parts.Retain > 0,
	})
	if err == nil && result.Stream != nil {
		return o.drain(ctx, t, result.Stream, take)
	}
	return o.outcome(t, err, Outcome{Result: result.JSON, Left: result.Context})
}

// drain takes parts of a stream. A function whose stream is cancelled logs its end.
func (o *owner) drain(ctx context.Context, t *testing.T, s *pool.Stream, take int) Outcome {
	t.Helper()
	defer s.Close()
	got := &Stream{Head: s.Head}
	for {
		parts, err := s.Next(ctx)
		for _, part := range parts {
			got.Parts = append(got.Parts, part.AppendJSON(nil))
		}
		switch {
		case errors.Is(err, io.EOF):
			return o.outcome(t, nil, Outcome{Stream: got})
		case err != nil:
			return o.outcome(t, err, Outcome{})
		case take > 0 && len(got.Parts) >= take:
			got.Parts = got.Parts[:take]
			s.Close()
			testrig.Eventually(t, "the cancelled function has ended", func() bool { return o.logs.has(o.name) })
			return o.outcome(t, nil, Outcome{Stream: got})
		}
	}
}

// outcome is good unless there was an error, which it makes the worker's again.
func (o *owner) outcome(t *testing.T, err error, good Outcome) Outcome {
	t.Helper()
	outcome := good
	if err != nil {
		outcome = o.failure(t, err)
	}
	outcome.Logs = o.logs.take(o.name)
	return outcome
}

func (o *owner) failure(t *testing.T, err error) Outcome {
	t.Helper()
	var e *faas.Error
	if !errors.As(err, &e) {
		t.Fatal(err)
	}
	switch {
	case e.Details["type"] == "WorkerExited":
		return Outcome{Error: e, Exited: true}
	case e.Code == faas.Timeout, e.Details["limit"] == "cpu":
		return Outcome{Error: e}
	}
	failure := frame.Failure{Kind: kindOf(t, e), Message: e.Message}
	failure.Type, _ = e.Details["type"].(string)
	failure.Line, _ = e.Details["line"].(int)
	failure.Column, _ = e.Details["column"].(int)
	stack, _ := e.Details["stack_trace"].(string)
	language := o.language
	if language == RustSource {
		language = faas.Rust
	}
	failure.Stack = strings.ReplaceAll(stack, language.Filename(), o.filename)
	return Outcome{Error: e, Failure: &failure}
}

func kindOf(t *testing.T, e *faas.Error) frame.FailureKind {
	t.Helper()
	switch e.Details["limit"] {
	case "memory":
		return frame.MemoryFailure
	case "context":
		return frame.ContextFailure
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

// logs are what functions have logged and nobody has looked at yet.
type logs struct {
	mu      sync.Mutex
	entries map[string][]Entry // by owner
}

func (l *logs) add(line pool.LogLine) {
	l.mu.Lock()
	defer l.mu.Unlock()
	level := strings.ToLower(line.Level.String())
	l.entries[line.Owner] = append(l.entries[line.Owner], Entry{Level: level, Text: line.Text})
}

func (l *logs) has(owner string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.entries[owner]) > 0
}

func (l *logs) take(owner string) []Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer delete(l.entries, owner)
	return l.entries[owner]
}
