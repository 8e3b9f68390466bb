package host

import (
	"context"
	"net/http"
	"time"

	"envoke/internal/faas"
	"envoke/runtimes/bundle"
	"envoke/runtimes/pool"
)

// execute runs a session's function once (E2).
func (h *Host) execute(w http.ResponseWriter, r *http.Request) error {
	arrived := time.Now()
	id := faas.SessionID(r.URL.Path[len(executePath)+1:])
	body, err := readBody(r, h.MaxBody)
	if err != nil {
		return err
	}
	defer body.release()
	var params []byte
	if err := members(body.bytes, member{"params", &params}); err != nil {
		return err
	}
	read := h.stages.read.since(arrived)
	session, err := h.Bundles.Session(r.Context(), id)
	if err != nil {
		return err
	}
	h.stages.session.since(read)
	return h.run(r.Context(), w, invocation{
		arrived: arrived, session: session, params: params, requestID: r.Header.Get(requestIDHeader),
	})
}

// invocation is one execute on its way.
type invocation struct {
	arrived   time.Time
	session   *bundle.Session
	params    []byte
	requestID string
}

// run invokes the function and writes the envelope.
func (h *Host) run(ctx context.Context, w http.ResponseWriter, in invocation) error {
	started, timeout := time.Now(), h.timeout(in.session.Timeout)
	result, err := h.Pool.Invoke(ctx, work(in.session), pool.Invocation{
		RequestID: in.requestID,
		Deadline:  in.arrived.Add(timeout),
		Timeout:   timeout,
		Params:    in.params,
		Context:   in.session.Context,
	})
	done := h.stages.run.since(started)
	if err != nil {
		return err
	}
	reply := buffers.Get().(*buffer)
	defer reply.release()
	reply.bytes = appendResult(reply.bytes, &in.session.Session, result)
	write(w, http.StatusOK, reply.bytes)
	h.stages.write.since(done)
	return nil
}

func work(session *bundle.Session) pool.Work {
	return pool.Work{Script: session.Script, Owner: session.Owner}
}

// timeout is the least of what the session (or its function) and the operator
// allow.
func (h *Host) timeout(wanted time.Duration) time.Duration {
	if wanted <= 0 {
		wanted = DefaultTimeout
	}
	return min(wanted, h.MaxTimeout)
}
