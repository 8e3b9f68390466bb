// Package relay has the code of a language run by a runtime that somebody else serves, such as
// the function nodejs-runtime of an OpenFaaS. It speaks the older runtime protocol: a POST for
// each call, with the code in it. It takes the same work as runtimes/pool, and answers with the
// same results and errors.
//
// That protocol has no way to load or to check code: a fault in it shows at the first call. How
// the runtime keeps one owner's code from another's is its own affair.
package relay

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"envoke/internal/faas"
	"envoke/runtimes/fault"
	"envoke/runtimes/frame"
	"envoke/runtimes/pool"
)

// Options make an Engine. All fields but Authorities are required.
type Options struct {
	URL         string         // of the runtime's execute
	Authorities *x509.CertPool // that its certificate may be of; nil: the system's
	Calls       int            // under way at once
	MaxResult   int            // bytes of a result's JSON
	Logger      *slog.Logger
}

// overhead bounds what an answer has beside its result, in bytes.
const overhead = 64 << 10

// Engine sends calls on.
type Engine struct {
	Options
	client *http.Client
	turns  chan struct{}
	calls  atomic.Int64
}

// New makes an Engine.
func New(o Options) *Engine {
	return &Engine{
		Options: o, turns: make(chan struct{}, o.Calls),
		client: &http.Client{
			Transport: &http.Transport{
				TLSClientConfig:     &tls.Config{RootCAs: o.Authorities, MinVersion: tls.VersionTLS12},
				MaxIdleConnsPerHost: 64, MaxConnsPerHost: o.Calls, IdleConnTimeout: 30 * time.Second,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// Serve closes idle connections when the context ends.
func (e *Engine) Serve(ctx context.Context) error {
	<-ctx.Done()
	e.client.CloseIdleConnections()
	return nil
}

// Check believes the code: only a call of it would show what is wrong.
func (e *Engine) Check(context.Context, faas.Script) (frame.Form, error) {
	return frame.Form{Form: "elsewhere"}, nil
}

// Load refuses work that the protocol has no place for.
func (e *Engine) Load(_ context.Context, work pool.Work) error {
	if work.Environment != nil {
		return fault.Unavailable("the runtime elsewhere takes no environment and no secrets: the function would miss them")
	}
	return nil
}

// Stats counts the calls under way.
func (e *Engine) Stats() pool.Stats { return pool.Stats{Calls: int(e.calls.Load())} }

// call is the body of the protocol's request.
type call struct {
	RequestID string          `json:"request_id"`
	Params    json.RawMessage `json:"params"`
	Context   json.RawMessage `json:"context"`
	Script    string          `json:"script_content"`
}

// answer is the body of its response.
type answer struct {
	Result   json.RawMessage `json:"result"`
	Duration *float64        `json:"execution_time_ms"`
	Memory   *int64          `json:"memory_usage_bytes"`
}

// Invoke sends the call once: the function may have run where no answer comes. Every error is
// a *faas.Error: what the runtime says, or TIMEOUT (504), RESOURCE_EXHAUSTED (507; output),
// RATE_LIMITED (429) and UNAVAILABLE (503).
func (e *Engine) Invoke(ctx context.Context, work pool.Work, inv pool.Invocation) (pool.Result, error) {
	if inv.Timeout == 0 {
		inv.Timeout = time.Until(inv.Deadline)
	}
	if err := e.Load(ctx, work); err != nil {
		return pool.Result{}, err
	}
	select {
	case e.turns <- struct{}{}:
		defer func() { <-e.turns }()
	default:
		return pool.Result{}, fault.Busy("too many calls of this runtime are under way")
	}
	e.calls.Add(1)
	defer e.calls.Add(-1)
	limited, cancel := context.WithDeadline(ctx, inv.Deadline)
	defer cancel()
	sent := time.Now()
	result, err := e.send(limited, work, inv)
	result.MemoryBytes = max(result.MemoryBytes, -1)
	if result.Duration == 0 {
		result.Duration = time.Since(sent)
	}
	switch {
	case err == nil:
		return result, nil
	case ctx.Err() != nil:
		return result, fault.GoneAway(ctx)
	case limited.Err() != nil:
		return result, fault.Timeout(inv.Timeout)
	}
	if failure := (*faas.Error)(nil); errors.As(err, &failure) {
		return result, failure
	}
	e.Logger.WarnContext(ctx, "the runtime elsewhere does not answer", "request_id", inv.RequestID, "error", err)
	return result, fault.Unavailable("the runtime elsewhere could not be reached or went away")
}

func (e *Engine) send(ctx context.Context, work pool.Work, inv pool.Invocation) (pool.Result, error) {
	none := pool.Result{MemoryBytes: -1}
	body, err := json.Marshal(call{
		RequestID: inv.RequestID, Params: orElse(inv.Params, "null"), Context: orElse(inv.Context, "{}"), Script: work.Script.Source,
	})
	if err != nil {
		return none, fmt.Errorf("write the call: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, e.URL, bytes.NewReader(body))
	if err != nil {
		return none, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-Request-Id", inv.RequestID)
	reply, err := e.client.Do(request)
	if err != nil {
		return none, err
	}
	defer func() { _ = reply.Body.Close() }()
	limit := e.MaxResult + overhead
	raw, err := io.ReadAll(io.LimitReader(reply.Body, int64(limit)+1))
	switch {
	case err != nil:
		return none, err
	case len(raw) > limit:
		return none, fault.Output(e.MaxResult)
	case reply.StatusCode != http.StatusOK:
		return none, refused(reply.StatusCode, raw)
	}
	return e.read(raw)
}

func orElse(raw []byte, empty string) json.RawMessage {
	if len(raw) == 0 {
		return json.RawMessage(empty)
	}
	return raw
}

func (e *Engine) read(raw []byte) (pool.Result, error) {
	result := pool.Result{MemoryBytes: -1}
	var a answer
	if err := json.Unmarshal(raw, &a); err != nil || a.Result == nil {
		return result, fault.Unavailable("the runtime elsewhere does not answer as the runtime protocol has it: its answer has no result")
	}
	if len(a.Result) > e.MaxResult {
		return result, fault.OutputOf(e.MaxResult, len(a.Result))
	}
	result.JSON = a.Result
	if a.Duration != nil && *a.Duration > 0 {
		result.Duration = time.Duration(*a.Duration * float64(time.Millisecond))
	}
	if a.Memory != nil && *a.Memory > 0 {
		result.MemoryBytes = *a.Memory
	}
	return result, nil
}

// refused is what a runtime says that has an error for its caller, in the shape that Envoke
// and the system before it have; else only that it did not do it.
func refused(status int, raw []byte) error {
	var said struct {
		Error struct {
			Code    faas.Code      `json:"code"`
			Message string         `json:"message"`
			Details map[string]any `json:"details"`
		} `json:"error"`
	}
	if json.Unmarshal(raw, &said) == nil && said.Error.Code.HTTPStatus() != 0 && said.Error.Message != "" {
		details := map[string]any{"component": faas.InFunction}
		for _, name := range []string{"type", "line", "column", "stack_trace", "component", "limit"} {
			if value, ok := said.Error.Details[name]; ok {
				details[name] = value
			}
		}
		return &faas.Error{Code: said.Error.Code, Message: cut(said.Error.Message, fault.MaxMessage), Details: details}
	}
	if status == http.StatusNotFound {
		return fault.Unavailable("the runtime elsewhere is not there (404): nothing was run")
	}
	return fault.Unavailable(fmt.Sprintf("the runtime elsewhere answered %d", status))
}

func cut(text string, most int) string { return strings.ToValidUTF8(text[:min(len(text), most)], "") }
