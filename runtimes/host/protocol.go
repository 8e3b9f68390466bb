package host

import (
	"context"
	"crypto/rand"
	"encoding/json"

	"github.com/valyala/fasthttp"

	"envoke/internal/faas"
	"envoke/internal/strict"
	"envoke/runtimes/bundle"
)

// protocolPath is the execute of the older runtime protocol, for controllers that
// speak with hosts themselves. Envoy has no route to it.
const protocolPath = "/execute"

// executeProtocol runs the body's script, in a worker that no other call gets, or
// the session that the body names.
func (h *Host) executeProtocol(ctx context.Context, c *fasthttp.RequestCtx) error {
	t := timingOf(c)
	body, err := h.readBody(ctx, c, h.maxInitialize())
	if err != nil {
		return err
	}
	defer body.release()
	var (
		p             post
		named, script []byte
		id            faas.SessionID
	)
	err = h.parseCall(&p, body.bytes, member{"request_id", &named}, member{"script_content", &script})
	if err == nil {
		err = h.parseScript(&p, script)
	}
	if err == nil && p.script == nil && json.Unmarshal(named, &id) != nil {
		err = invalid("send script_content, or a session's id as request_id")
	}
	if err != nil {
		return err
	}
	t.lap(h.stages.read)
	session, err := h.sessionOf(ctx, &p, id, callerOf(c))
	if err != nil {
		return err
	}
	t.lap(h.stages.session)
	result, err := h.invoke(ctx, requestID(c), invocation{timing: t, session: session, params: p.params})
	if err != nil {
		return err
	}
	reply := buffers.Get().(*buffer)
	reply.bytes = append(appendMeasures(appendStart(reply.bytes, result), result), '}')
	writeBuffer(c, reply)
	t.lap(h.stages.write)
	return nil
}

// sessionOf is what a call runs that brings a script or names a session. Sessions are
// shared: one whose context is another for this call is a copy.
func (h *Host) sessionOf(ctx context.Context, p *post, id faas.SessionID, caller Caller) (*bundle.Session, error) {
	if p.script != nil {
		if err := h.checkNetwork(p); err != nil {
			return nil, err
		}
		return &bundle.Session{
			Session: faas.Session{
				Owner: "call:" + rand.Text(), Context: caller.in(p.context), Timeout: p.timeout, MemoryMB: p.memoryMB, Limits: p.limits, Network: p.network,
			},
			Script: faas.NewScript(h.Language, *p.script, p.options),
		}, nil
	}
	found, err := h.sessionFor(ctx, id, caller.Caller)
	if err != nil || p.context == nil {
		return found, err
	}
	if found.Retain {
		return nil, strict.BadMember("context", "is what the session's last call left in it: leave it out")
	}
	own := *found
	own.Context = caller.in(p.context)
	if p.timeout > 0 {
		own.Timeout = p.timeout
	}
	if p.memoryMB > 0 {
		own.MemoryMB = p.memoryMB
	}
	own.Limits = p.limits.Or(own.Limits)
	return &own, nil
}
