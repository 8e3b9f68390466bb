package pool

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"envoke/internal/faas"
	"envoke/runtimes/frame"
)

// killReason is why the host killed a worker, as the label of a metric.
type killReason string

const (
	killDeadline killReason = "deadline"
	killProtocol killReason = "protocol" // it broke the protocol
	killClosed   killReason = "closed"   // it closed its frame descriptor and lived on
	killLoad     killReason = "load"     // its code did not load
	killStart    killReason = "start"    // it never was ready
	killIdle     killReason = "idle"
	killEvicted  killReason = "evicted"
	killRecycled killReason = "recycled"
	killStop     killReason = "stop"
)

const (
	maxMessage = 8 << 10  // bytes of a failure's message that a caller sees
	maxStack   = 32 << 10 // bytes of its stack trace
)

// errProtocol is wrapped by what a worker did against runtimes/PROTOCOL.md.
var errProtocol = errors.New("it broke the worker protocol")

// readError tells a frame that makes no sense from a stream that ended.
func readError(err error) error {
	var pathError *fs.PathError // of a read from the descriptor
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &pathError) {
		return err
	}
	return fmt.Errorf("%w: %w", errProtocol, err)
}

// ending is why a call got no answer: its worker ended.
type ending struct {
	reason      killReason // empty: nobody killed it
	late        bool       // this call was past its deadline
	how         string     // such as "exit code 3"
	outOfMemory bool
	drained     bool // all that the worker wrote was read
}

func (e *ending) Error() string { return "the worker ended: " + e.how + string(e.reason) }

// byItself tells whether the function ended its worker.
func (e *ending) byItself() bool {
	return e.reason == "" || e.reason == killProtocol || e.reason == killClosed
}

// describe says how a process ended, for the caller.
func describe(state *os.ProcessState) string {
	status, ok := state.Sys().(syscall.WaitStatus)
	switch {
	case ok && status.Signaled():
		return "signal " + unix.SignalName(status.Signal())
	case ok && status.Exited():
		return fmt.Sprintf("exit code %d", status.ExitStatus())
	}
	return "unknown reason"
}

// ranOutOfMemory recognises the last words of V8 and of our Python worker.
func ranOutOfMemory(tail []byte) bool { return bytes.Contains(tail, []byte("heap out of memory")) }

// invokeEnded is the error of a call whose worker ended.
func (p *Pool) invokeEnded(err error, timeout time.Duration) error {
	var end *ending
	switch {
	case !errors.As(err, &end):
		return err
	case end.late:
		return errTimeout(timeout)
	case end.reason == killStop:
		return errStopping
	case !end.byItself():
		return errShared
	case end.outOfMemory:
		return errMemory
	}
	return errExited(faas.RuntimeError, end.how)
}

func errExited(code faas.Code, how string) *faas.Error {
	return &faas.Error{
		Code:    code,
		Message: "the function's worker ended: " + how,
		Details: map[string]any{"component": faas.InFunction, "type": "WorkerExited"},
	}
}

// invokeFailed is the error that a worker reported for a call.
func (p *Pool) invokeFailed(w *worker, payload []byte) error {
	var f frame.Failure
	if err := json.Unmarshal(payload, &f); err != nil {
		return p.broken(w, err)
	}
	switch f.Kind {
	case frame.ThrownFailure:
		return failed(faas.RuntimeError, f)
	case frame.OutputFailure:
		return &faas.Error{
			Code:    faas.ResourceExhausted,
			Message: fmt.Sprintf("the result is larger than %d bytes of JSON", p.opt.MaxResult),
			Details: map[string]any{"component": faas.InFunction, "limit": "output", "limit_bytes": p.opt.MaxResult},
		}
	case frame.MemoryFailure:
		return errMemory
	case frame.ParamsFailure:
		return &faas.Error{Code: faas.InvalidParams, Message: cut(f.Message, maxMessage)}
	}
	return p.broken(w, fmt.Errorf("a failure of kind %q", f.Kind))
}

// loadEnded is the error of a Load or Check whose worker ended.
func (p *Pool) loadEnded(end *ending) error {
	switch {
	case end.late:
		return &faas.Error{
			Code:    faas.InitializationError,
			Message: fmt.Sprintf("the code took longer than %d ms to load", p.opt.LoadTimeout.Milliseconds()),
			Details: map[string]any{"component": faas.InFunction, "timeout_ms": p.opt.LoadTimeout.Milliseconds()},
		}
	case end.reason == killStop:
		return errStopping
	case !end.byItself():
		return errShared
	case end.outOfMemory:
		return errExited(faas.InitializationError, "it ran out of memory")
	}
	return errExited(faas.InitializationError, end.how)
}

// loadFailed is the error that a worker reported for a Load or Check.
func (p *Pool) loadFailed(w *worker, payload []byte) error {
	var f frame.Failure
	if err := json.Unmarshal(payload, &f); err != nil {
		return p.broken(w, err)
	}
	return failed(faas.InitializationError, f)
}

// failed tells the caller what the user's code did, and where.
func failed(code faas.Code, f frame.Failure) *faas.Error {
	details := map[string]any{"component": faas.InFunction, "type": cut(f.Type, maxMessage)}
	if f.Line > 0 {
		details["line"] = f.Line
	}
	if f.Column > 0 {
		details["column"] = f.Column
	}
	if f.Stack != "" {
		details["stack_trace"] = cut(f.Stack, maxStack)
	}
	return &faas.Error{Code: code, Message: cut(f.Message, maxMessage), Details: details}
}

func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}

// broken ends a worker that answered with what cannot be read.
func (p *Pool) broken(w *worker, err error) error {
	p.discard(w, killProtocol)
	e := errExited(faas.RuntimeError, errProtocol.Error())
	e.Err = err
	return e
}

func errTimeout(timeout time.Duration) *faas.Error {
	ms := max(0, timeout).Round(time.Millisecond).Milliseconds()
	return &faas.Error{
		Code:    faas.Timeout,
		Message: fmt.Sprintf("the function did not answer within %d ms", ms),
		Details: map[string]any{"component": faas.InFunction, "timeout_ms": ms},
	}
}

// errBusy asks for another try; the HTTP layer makes a header of the detail.
func errBusy(message string) *faas.Error {
	return &faas.Error{
		Code:    faas.RateLimited,
		Message: message,
		Details: map[string]any{"component": faas.InRuntime, "retry_after_seconds": 1},
	}
}

func errUnavailable(message string) *faas.Error {
	return &faas.Error{
		Code:    faas.Unavailable,
		Message: message,
		Details: map[string]any{"component": faas.InRuntime},
	}
}

func errNoWorker(err error) *faas.Error {
	e := errUnavailable("no worker could be started; the log of the runtime host has the reason")
	e.Err = err
	return e
}

// errGoneAway is for the log: nobody reads the reply.
func errGoneAway(ctx context.Context) *faas.Error {
	e := errUnavailable("the caller went away")
	e.Err = context.Cause(ctx)
	return e
}

// Shared by calls: who gets one must not change it.
var (
	errStopping = errUnavailable("the runtime host is stopping")
	errMemory   = &faas.Error{
		Code:    faas.ResourceExhausted,
		Message: "the function ran out of memory",
		Details: map[string]any{"component": faas.InFunction, "limit": "memory"},
	}
	errShared = errUnavailable("the call shared a worker that was killed for another call; it is not known how far it came, so it is not run again")
)
