package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"

	"github.com/valyala/fasthttp"

	"envoke/internal/faas"
	"envoke/runtimes/pool"
)

const requestIDHeader = "X-Request-Id"

var nullJSON = []byte("null")

func requestID(c *fasthttp.RequestCtx) string { return string(c.Request.Header.Peek(requestIDHeader)) }

// write sends a JSON body, which is the reply's from then on.
func write(c *fasthttp.RequestCtx, status int, body []byte) {
	c.SetStatusCode(status)
	c.SetContentType("application/json")
	c.Response.SetBodyRaw(body)
}

// writeBuffer sends a JSON body with status 200 and gives the buffer back: small ones
// trade places with the one that the connection keeps.
func writeBuffer(c *fasthttp.RequestCtx, b *buffer) {
	if cap(b.bytes) > keepBuffer {
		write(c, http.StatusOK, b.bytes)
		return
	}
	c.SetContentType("application/json")
	b.bytes = c.Response.SwapBody(b.bytes)
	b.release()
}

// fail answers an error in the documented shape and logs what an operator should
// see: the causes that the caller is not shown.
func (h *Host) fail(c *fasthttp.RequestCtx, err error) {
	e, connection := faas.AsError(err), c.Conn().(*conn)
	ctx, id := connection.ctx, requestID(c)
	if level := logLevel(ctx, e); h.Logger.Enabled(ctx, level) {
		h.Logger.Log(ctx, level, "request failed",
			slog.String("request_id", id), slog.String("path", string(c.Path())), slog.Any("error", err))
	}
	if seconds, ok := e.Details["retry_after_seconds"].(int); ok {
		c.Response.Header.Set("Retry-After", strconv.Itoa(seconds))
	}
	if e.Code == faas.PayloadTooLarge {
		// The rest of the body is not wanted: end the connection after the reply.
		connection.unread = true
		c.SetConnectionClose()
	}
	write(c, e.HTTPStatus(), e.Body(faas.InRuntime, id))
}

// refuse answers what is no request: the peer is no Envoy, or one at its wits' end.
func (h *Host) refuse(c *fasthttp.RequestCtx, err error) {
	e := &faas.Error{Code: faas.InvalidRequest, Message: "this is no HTTP/1.1 request", Err: err}
	var head *fasthttp.ErrSmallBuffer
	if errors.As(err, &head) {
		e.Message, e.Status = fmt.Sprintf("the request's headers are larger than %d bytes", maxHead), http.StatusRequestHeaderFieldsTooLarge
	}
	h.fail(c, e)
}

// recovered answers for a handler that panicked: one request's fault must not end
// the others.
func (h *Host) recovered(c *fasthttp.RequestCtx) {
	fault := recover()
	if fault == nil {
		return
	}
	h.Logger.Error("panic", "request_id", requestID(c), "error", fault, "stack", string(debug.Stack()))
	c.SetConnectionClose()
	h.fail(c, fmt.Errorf("panic: %v", fault))
}

func logLevel(ctx context.Context, e *faas.Error) slog.Level {
	switch {
	case ctx.Err() != nil: // the caller has gone: what failed is likely that
		return slog.LevelDebug
	case e.Code == faas.InternalError:
		return slog.LevelError
	case e.Code == faas.Unavailable:
		return slog.LevelWarn
	}
	return slog.LevelDebug
}

// appendResult appends the envelope of a successful execute. The name and the id
// need no escaping: both are checked to be plain ASCII. Without a session its id is
// null.
func appendResult(b []byte, session *faas.Session, result pool.Result) []byte {
	b = append(appendStart(b, result), `,"request_id":`...)
	if session.ID == "" {
		b = append(b, nullJSON...)
	} else {
		b = append(b, '"')
		b = append(b, session.ID...)
		b = append(b, '"')
	}
	b = append(b, `,"language_title":"`...)
	b = append(b, session.Name.Language...)
	b = append(b, '-')
	b = append(b, session.Name.Title...)
	b = append(b, '"')
	return append(appendMeasures(b, result), `,"cached":false}`...)
}

// appendStart appends the beginning that all envelopes have.
func appendStart(b []byte, result pool.Result) []byte {
	b = append(b, `{"result":`...)
	return append(b, result.JSON...)
}

// appendMeasures appends what was measured of an invocation.
func appendMeasures(b []byte, result pool.Result) []byte {
	b = append(b, `,"execution_time_ms":`...)
	b = appendMilliseconds(b, result.Duration)
	b = append(b, `,"memory_usage_bytes":`...)
	if result.MemoryBytes < 0 {
		return append(b, nullJSON...)
	}
	return strconv.AppendInt(b, result.MemoryBytes, 10)
}
