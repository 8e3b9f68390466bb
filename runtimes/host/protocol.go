package host

import (
	"context"
	"encoding/json"
	"time"

	"github.com/valyala/fasthttp"

	"envoke/internal/faas"
)

// protocolPath is the execute of the older runtime protocol, for controllers that
// speak with hosts themselves. Envoy has no route to it.
const protocolPath = "/execute"

// executeProtocol runs the body's script, in a worker that no other call gets, or
// the session that the body names.
func (h *Host) executeProtocol(ctx context.Context, c *fasthttp.RequestCtx) error {
	arrived := time.Now()
	body, err := h.readBody(ctx, c, h.maxInitialize())
	if err != nil {
		return err
	}
	defer body.release()
	var (
		p          post
		id, script []byte
	)
	err = p.parseCall(body.bytes, member{"request_id", &id}, member{"script_content", &script})
	if err == nil {
		err = h.parseScript(&p, script)
	}
	if err == nil {
		err = checkCompileOptions(p.options, h.MaxMemoryMB)
	}
	if err != nil {
		return err
	}
	var named faas.SessionID
	if p.script == nil && json.Unmarshal(id, &named) != nil {
		return invalid("send script_content, or a session's id as request_id")
	}
	session, err := h.sessionOf(ctx, &p, named)
	if err != nil {
		return err
	}
	result, err := h.invoke(ctx, requestID(c), invocation{arrived: arrived, session: session, params: p.params})
	if err != nil {
		return err
	}
	reply := buffers.Get().(*buffer)
	reply.bytes = append(appendMeasures(appendStart(reply.bytes, result), result), '}')
	writeBuffer(c, reply)
	return nil
}
