package pool

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"envoke/internal/faas"
	"envoke/runtimes/fault"
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
	killExceeded killReason = "exceeded" // it took more than its part of something
)

// errProtocol is wrapped by what a worker did against runtimes/PROTOCOL.md.
var errProtocol = errors.New("it broke the worker protocol")

// readError tells a frame that makes no sense from a stream that ended.
func readError(err error) error {
	var opError *net.OpError // of a read from the socket
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &opError) {
		return err
	}
	return fmt.Errorf("%w: %w", errProtocol, err)
}

// ending is why a call got no answer: its worker ended.
type ending struct {
	reason      killReason // empty: nobody killed it
	late        bool       // this call was past its deadline
	unread      bool       // and the worker had not even read it
	how         string     // such as "exit code 3"
	outOfMemory bool
	drained     bool // all that the worker wrote was read
	memoryMB    int  // that it might have
	excess      *excess
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

// lastWords are those of V8 and of our Python worker, of V8 outside of its heap, of the C++
// around it, and of Ruby.
var lastWords = []string{
	"heap out of memory", "process out of memory", "std::bad_alloc", "[FATAL] failed to allocate memory",
}

// ranOutOfMemory tells by a worker's last words that it had no memory left.
func ranOutOfMemory(tail []byte) bool {
	return slices.ContainsFunc(lastWords, func(words string) bool { return bytes.Contains(tail, []byte(words)) })
}

// crashedFull tells a worker that crashed without a word when it had much of the memory that it
// may have: V8 does so where it is refused more in the middle of something. What it had is
// known as of up to 100 ms before, in which much more may have come, so half of it is much.
func (w *worker) crashedFull(how string) bool {
	switch how {
	case "signal SIGSEGV", "signal SIGBUS", "signal SIGILL", "signal SIGTRAP":
		most := int64(w.pool.opt.memory(w.belongsTo().memoryMB))
		return most > 0 && w.memory.Load() > most/2
	}
	return false
}

// invokeEnded is the error of a call whose worker ended.
func (p *Pool) invokeEnded(err error, timeout time.Duration) error {
	var end *ending
	switch {
	case !errors.As(err, &end):
		return err
	case end.late:
		return fault.Timeout(timeout)
	case end.reason == killStop:
		return fault.Stopping
	case end.excess != nil && end.excess.limit == cpuLimit:
		return fault.CPU(time.Duration(end.excess.allowed), time.Duration(end.excess.taken))
	case end.excess != nil:
		return fault.Exceeded(end.excess.limit, end.excess.allowed, end.excess.taken)
	case !end.byItself():
		return errShared
	case end.outOfMemory:
		return fault.OutOfMemory(end.memoryMB)
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
		return fault.Output(p.opt.MaxResult)
	case frame.ContextFailure:
		return fault.Context(MaxContext)
	case frame.MemoryFailure:
		return fault.OutOfMemory(w.belongsTo().memoryMB)
	case frame.ParamsFailure:
		return &faas.Error{Code: faas.InvalidParams, Message: fault.Cut(f.Message, fault.MaxMessage)}
	}
	return p.broken(w, fmt.Errorf("a failure of kind %q", f.Kind))
}

// loadEnded is the error of a Load or Check whose worker ended.
func (p *Pool) loadEnded(end *ending) error {
	ms := p.opt.LoadTimeout.Milliseconds()
	switch {
	case end.late && end.unread:
		return fault.Unavailable(fmt.Sprintf("the worker did not take the code within %d ms: the machine is stalled or too busy; nothing was run, try again", ms))
	case end.late:
		return fault.LoadTimeout(p.opt.LoadTimeout)
	case end.reason == killStop:
		return fault.Stopping
	case end.excess != nil:
		return errExited(faas.InitializationError, "it took too many "+end.excess.limit)
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
	details := map[string]any{"component": faas.InFunction, "type": fault.Cut(f.Type, fault.MaxMessage)}
	if f.Line > 0 {
		details["line"] = f.Line
	}
	if f.Column > 0 {
		details["column"] = f.Column
	}
	if f.Stack != "" {
		details["stack_trace"] = fault.Cut(f.Stack, fault.MaxStack)
	}
	return &faas.Error{Code: code, Message: fault.Cut(f.Message, fault.MaxMessage), Details: details}
}

// broken ends a worker that answered with what cannot be read.
func (p *Pool) broken(w *worker, err error) error {
	p.discard(w, killProtocol)
	e := errExited(faas.RuntimeError, errProtocol.Error())
	e.Err = err
	return e
}

func errNoWorker(err error) *faas.Error {
	e := fault.Unavailable("no worker could be started; the log of the runtime host has the reason")
	e.Err = err
	return e
}

// errShared is shared by calls: who gets it must not change it.
var errShared = fault.Unavailable("the call shared a worker that was killed for another call; it is not known how far it came, so it is not run again")
