package wasm

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"envoke/internal/faas"
	"envoke/runtimes/conformance"
	"envoke/runtimes/frame"
	"envoke/runtimes/pool"
)

// What is promised of every language holds in both tiers: the first call of a module is
// interpreted, and the suite's second mostly is not.
func TestConforms(t *testing.T) {
	engines := map[int]*engineLogs{}
	for _, maxResult := range []int{1 << 20, 10} {
		l := &engineLogs{}
		l.engine = serve(t, Options{MaxResult: maxResult, Log: l.add})
		engines[maxResult] = l
	}
	conformance.Run(t, faas.Rust, func(t *testing.T) conformance.Worker {
		return &conforming{engines: engines, owner: t.Name()}
	})
}

type engineLogs struct {
	lines
	engine *Engine
}

// conforming is one owner's work in an engine, as the suite's Worker.
type conforming struct {
	engines map[int]*engineLogs // by their bound of results
	*engineLogs
	owner string
	work  pool.Work
	form  frame.Form
}

// Check implements conformance.Worker.
func (c *conforming) Check(t *testing.T, code frame.Code) conformance.Outcome {
	c.engineLogs = c.engines[code.MaxResult]
	c.work = pool.Work{Script: faas.NewScript(faas.Rust, code.Source, targetOption), Owner: c.owner}
	form, err := c.engine.Check(t.Context(), c.work.Script)
	c.form = form
	return c.outcome(t, err, conformance.Outcome{Form: &form})
}

// Load implements conformance.Worker. An engine does not tell the form again.
func (c *conforming) Load(t *testing.T, _ frame.Code) conformance.Outcome {
	return c.outcome(t, c.engine.Load(t.Context(), c.work), conformance.Outcome{Form: &c.form})
}

// Invoke implements conformance.Worker.
func (c *conforming) Invoke(t *testing.T, event json.RawMessage) conformance.Outcome {
	var parts struct{ Params, Context json.RawMessage }
	if err := json.Unmarshal(event, &parts); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	deadline, _ := ctx.Deadline()
	before := len(c.logged())
	result, err := c.engine.Invoke(ctx, c.work, pool.Invocation{Deadline: deadline, Params: parts.Params, Context: parts.Context})
	outcome := c.outcome(t, err, conformance.Outcome{Result: result.JSON})
	outcome.Logs = c.logged()[before:]
	return outcome
}

func (c *conforming) logged() []conformance.Entry {
	var entries []conformance.Entry
	for _, line := range c.all() {
		if line.Owner == c.owner {
			entries = append(entries, conformance.Entry{Level: strings.ToLower(line.Level.String()), Text: line.Text})
		}
	}
	return entries
}

// outcome is good unless there was an error, which it makes a failure again.
func (c *conforming) outcome(t *testing.T, err error, good conformance.Outcome) conformance.Outcome {
	t.Helper()
	if err == nil {
		return good
	}
	var e *faas.Error
	if !errors.As(err, &e) {
		t.Fatal(err)
	}
	kinds := map[faas.Code]frame.FailureKind{
		faas.InitializationError: frame.LoadFailure,
		faas.RuntimeError:        frame.ThrownFailure,
		faas.ResourceExhausted:   frame.OutputFailure,
	}
	failure := frame.Failure{Kind: kinds[e.Code], Message: e.Message}
	failure.Type, _ = e.Details["type"].(string)
	if failure.Kind == "" {
		t.Fatal(err)
	}
	return conformance.Outcome{Failure: &failure}
}
