package pool

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strconv"
	"time"

	"envoke/internal/faas"
	"envoke/runtimes/fault"
	"envoke/runtimes/frame"
)

// Invocation is one execute.
type Invocation struct {
	RequestID string
	// Deadline is when the worker is killed, if it has not answered. The wait for
	// its turn counts. It is required.
	Deadline time.Time
	// Timeout is what the caller is told that the limit was. 0: what was left when
	// Invoke was called.
	Timeout time.Duration
	// Params and Context are JSON that the caller has checked. Empty means null
	// and {}.
	Params, Context []byte
	// Stream says that the caller takes a stream. Else the parts of one are collected into
	// the result's JSON: a list, or a response with a list as its body.
	Stream bool
	// Retain says that the caller wants what the function leaves in its context. A stream is
	// collected then.
	Retain bool
}

// MaxContext bounds the JSON of what a function leaves in its context, in bytes.
const MaxContext = 1 << 20

// Result is what an execute returned. With an error only its times count, as far as the
// call came.
type Result struct {
	JSON        []byte        // as the worker wrote it; the caller's own
	Queue       time.Duration // the wait for a worker, for it to load the code, and for a turn in it
	Duration    time.Duration // the function's: frame out to frame in, without the wait for a turn
	MemoryBytes int64         // resident memory of the worker, ≤ 100 ms old or as of its last call; -1: unknown
	Stream      *Stream       // in place of the JSON; nil: the function returned a value
	Context     []byte        // that the function left, an object of whatever JSON its worker wrote; nil: not asked for
}

// The event around the caller's JSON.
var (
	eventParams  = []byte(`{"params":`)
	eventContext = []byte(`,"context":`)
	eventEnd     = []byte(`}`)
	retainEnd    = []byte(`,"retain":` + strconv.Itoa(MaxContext) + `}`)
	jsonNull     = []byte(`null`)
	jsonEmpty    = []byte(`{}`)
)

// Invoke runs the work's code once, in the worker of its (digest, owner). It loads the
// code first where no worker holds it. Every error is a *faas.Error: INITIALIZATION_ERROR
// (422) where the code does not load, RUNTIME_ERROR (500) where it threw or its worker
// ended, INVALID_PARAMS (400), RESOURCE_EXHAUSTED (507; output or memory), TIMEOUT (504),
// RATE_LIMITED (429) and UNAVAILABLE (503). Errors may be shared: they are not to be
// changed. Nothing is ever run twice.
//
// A caller that goes away (ctx) frees its turn when the function answers, or at the
// deadline.
func (p *Pool) Invoke(ctx context.Context, work Work, inv Invocation) (Result, error) {
	if inv.Timeout == 0 {
		inv.Timeout = time.Until(inv.Deadline)
	}
	var r Result
	if err := p.prepareBy(ctx, work, inv); err != nil {
		return r, err
	}
	for {
		w, waited, err := p.acquire(ctx, work, inv.Deadline)
		r.Queue += waited
		if errors.Is(err, errLate) {
			err = fault.Timeout(inv.Timeout)
		}
		if err != nil {
			return r, err
		}
		if err = p.invoke(ctx, w, inv, &r); !errors.Is(err, errGone) {
			return r, err
		} // else the worker ended, and none of the call was run
	}
}

// prepareBy prepares the work within the call's deadline.
func (p *Pool) prepareBy(ctx context.Context, work Work, inv Invocation) error {
	if work.Script.Dependencies == nil {
		return nil
	}
	within, cancel := context.WithDeadline(ctx, inv.Deadline)
	defer cancel()
	err := p.prepare(within, work)
	if within.Err() != nil && ctx.Err() == nil {
		return fault.Timeout(inv.Timeout)
	}
	return err
}

// invoke runs the code once in a worker that has it, and gives its turn back.
func (p *Pool) invoke(ctx context.Context, w *worker, inv Invocation, r *Result) error {
	now := time.Now()
	if !now.Before(inv.Deadline) {
		p.release(w, now, 0)
		return fault.Timeout(inv.Timeout)
	}
	q := question{
		kind: frame.Invoke, requestID: inv.RequestID, sent: now, deadline: inv.Deadline, timeout: inv.Timeout, retain: inv.Retain,
	}
	end := eventEnd
	if inv.Retain {
		end = retainEnd
	}
	a, err := w.ask(ctx, q, eventParams, or(inv.Params, jsonNull), eventContext, or(inv.Context, jsonEmpty), end)
	if errors.Is(err, errAbandoned) {
		return fault.GoneAway(ctx)
	}
	r.Queue += a.began.Sub(now)
	if a.stream != nil {
		return p.stream(ctx, a.stream, inv, r)
	}
	r.Duration = a.ended.Sub(a.began)
	p.release(w, a.ended, r.Duration)
	switch {
	case errors.Is(err, errGone):
		return err
	case err != nil:
		return p.invokeEnded(err, inv.Timeout)
	case a.Type == frame.Failed:
		return p.invokeFailed(w, a.Payload)
	}
	r.JSON, r.Context, r.MemoryBytes = a.Payload, a.context, w.memoryBytes(a.ended)
	return nil
}

func or(b, otherwise []byte) []byte {
	if len(b) == 0 {
		return otherwise
	}
	return b
}

// memoryBytes is the worker's resident memory, read from the kernel at most every
// memoryEvery. A process that has just ended has the memory of its last sample.
func (w *worker) memoryBytes(now time.Time) int64 {
	known, last := w.memory.Load(), w.sampledAt.Load()
	fresh := now.UnixNano()-last < int64(memoryEvery) || !w.sampledAt.CompareAndSwap(last, now.UnixNano())
	if fresh && known >= 0 { // not while somebody else reads the first sample
		return known
	}
	statm, err := os.ReadFile("/proc/" + strconv.Itoa(w.process.PID()) + "/statm")
	if err != nil {
		return known
	}
	// "size resident shared …", in pages: proc_pid_statm(5)
	if fields := bytes.Fields(statm); len(fields) > 1 {
		if pages, err := strconv.ParseInt(string(fields[1]), 10, 64); err == nil {
			w.memory.Store(pages * int64(os.Getpagesize()))
		}
	}
	return w.memory.Load()
}

// Load makes sure that a worker has the work's code. The error is a *faas.Error:
// INITIALIZATION_ERROR where the code does not load, or loads for longer than
// LoadTimeout; RATE_LIMITED or UNAVAILABLE where no worker was free.
func (p *Pool) Load(ctx context.Context, work Work) error {
	if err := p.prepare(ctx, work); err != nil {
		return err
	}
	w, _, err := p.acquire(ctx, work, time.Now().Add(startTimeout+p.opt.LoadTimeout))
	if errors.Is(err, errLate) {
		return fault.Unavailable("the function's worker is busy")
	}
	if err != nil {
		return err
	}
	p.release(w, time.Now(), 0)
	return nil
}

// Check parses code and runs none of it, in a worker that never runs any. Its Form says
// whether a Load could show more. Code that parses is remembered by its digest and not
// parsed again. Errors are those of Load.
func (p *Pool) Check(ctx context.Context, script faas.Script) (frame.Form, error) {
	if form, ok := p.checked.Get(script.Digest); ok {
		return form, nil
	}
	form, err := p.check(ctx, script)
	if err == nil {
		p.checked.Add(script.Digest, form)
	}
	return form, err
}

func (p *Pool) check(ctx context.Context, script faas.Script) (frame.Form, error) {
	for attempt := 1; ; attempt++ {
		w, _, err := p.acquire(ctx, Work{}, time.Now().Add(startTimeout+p.opt.LoadTimeout))
		if errors.Is(err, errLate) {
			return frame.Form{}, fault.Unavailable("the checker is busy")
		}
		if err != nil {
			return frame.Form{}, err
		}
		asked := time.Now()
		form, err := p.offer(ctx, w, frame.Check, Work{Script: script})
		if errors.Is(err, errAbandoned) {
			return frame.Form{}, fault.GoneAway(ctx)
		}
		now := time.Now()
		p.release(w, now, now.Sub(asked))
		// Somebody else's code may have ended the checker; nothing was run, so
		// asking again is safe.
		if again := errors.Is(err, errGone) || errors.Is(err, errShared); !again || attempt == 3 {
			return form, err
		}
	}
}
