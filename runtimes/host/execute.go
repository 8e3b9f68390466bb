package host

import (
	"context"
	"time"

	"github.com/valyala/fasthttp"

	"envoke/internal/faas"
	"envoke/runtimes/bundle"
	"envoke/runtimes/pool"
)

// execute runs a session's function once (E2).
func (h *Host) execute(ctx context.Context, c *fasthttp.RequestCtx) error {
	t := timingOf(c)
	id := faas.SessionID(c.URI().PathOriginal()[len(executePath)+1:])
	body, err := h.readBody(ctx, c, h.MaxBody)
	if err != nil {
		return err
	}
	defer body.release()
	var params []byte
	if err := bodyMembers(body.bytes, member{"params", &params}); err != nil {
		return err
	}
	t.lap(h.stages.read)
	session, err := h.sessionFor(ctx, id, identityOf(c))
	if err != nil {
		return err
	}
	t.lap(h.stages.session)
	return h.run(ctx, c, invocation{timing: t, session: session, params: params})
}

// invocation is one execute on its way.
type invocation struct {
	timing  *timing
	session *bundle.Session
	params  []byte
	checked bool // params keep to the function's schema
	stream  bool // the caller takes a stream
}

// run invokes the function and writes the envelope.
func (h *Host) run(ctx context.Context, c *fasthttp.RequestCtx, in invocation) error {
	in.stream = acceptsEvents(c)
	c.Conn().(*conn).session = in.session
	result, err := h.invoke(ctx, requestID(c), in)
	h.exchanged(c, in.params, &result, err)
	if err != nil {
		return err
	}
	if result.Stream != nil {
		return h.runEvents(ctx, c, in, result.Stream)
	}
	reply := buffers.Get().(*buffer)
	reply.bytes = appendResult(reply.bytes, &in.session.Session, result)
	markEnvelope(c)
	writeBuffer(c, reply)
	in.timing.lap(h.stages.write)
	return nil
}

// invoke checks the params and runs the function. What it prints is logged under the
// request's id.
func (h *Host) invoke(ctx context.Context, requestID string, in invocation) (pool.Result, error) {
	h.calls.Add(1)
	defer h.calls.Add(-1)
	if !in.checked {
		if err := checkParams(in.session.Params, in.params); err != nil {
			return pool.Result{}, err
		}
	}
	if err := h.letsOut(in.session); err != nil {
		return pool.Result{}, err
	}
	if err := in.session.Variables.Err(); err != nil {
		return pool.Result{}, err
	}
	t, timeout := in.timing, h.timeout(in.session.Timeout)
	if err := h.built(ctx, in, timeout); err != nil {
		return pool.Result{}, err
	}
	if err := h.rates.take(in.session, time.Now()); err != nil {
		return pool.Result{}, err
	}
	inv := pool.Invocation{
		RequestID: requestID,
		Deadline:  t.arrived.Add(timeout),
		Timeout:   timeout,
		Params:    in.params,
		Context:   in.session.Context,
		Stream:    in.stream,
	}
	var result pool.Result
	var err error
	if in.session.Retain {
		result, err = h.retained(ctx, in.session, inv)
	} else {
		result, err = h.limited(ctx, in.session, inv)
	}
	t.queue, t.function, t.invoked = result.Queue, result.Duration, true
	t.lap(h.stages.run)
	return result, err
}

func work(session *bundle.Session) pool.Work {
	return pool.Work{
		Script: session.Script, Owner: session.Owner, MemoryMB: session.MemoryMB, CPU: session.Limits.CPU, Network: session.Network,
		Environment: session.Variables.Resolved,
	}
}

// timeout is the least of what the session (or its function) and the operator
// allow.
func (h *Host) timeout(wanted time.Duration) time.Duration {
	if wanted <= 0 {
		wanted = DefaultTimeout
	}
	return min(wanted, h.MaxTimeout)
}
