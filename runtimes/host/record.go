package host

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"envoke/internal/faas"
	"envoke/internal/record"
	"envoke/runtimes/bundle"
	"envoke/runtimes/pool"
)

// maxTitle bounds what a caller's header may say of a function's name, in bytes.
const maxTitle = 256

// failed tells of a request that is answered by an error, with what is known of its function.
func (h *Host) failed(c *fasthttp.RequestCtx, err error) {
	f := faas.NewFailure(requestID(c), faas.InRuntime, faas.AsError(err))
	title := string(c.Request.Header.Peek("Language-Title"))
	f.LanguageTitle = strings.ToValidUTF8(title[:min(len(title), maxTitle)], "")
	if id := faas.SessionID(strings.TrimPrefix(string(c.URI().PathOriginal()), executePath+"/")); isID(id) {
		f.SessionID = id
	}
	h.tell(f, c.Conn().(*conn).session)
}

func isID(id faas.SessionID) bool { _, ok := id.Language(); return ok }

// tell adds what the session says, where there is one.
func (h *Host) tell(f faas.Failure, session *bundle.Session) {
	f.Language = h.Language
	if session != nil {
		if session.ID != "" {
			f.SessionID = session.ID
		}
		if session.Name.Title != "" {
			f.LanguageTitle = session.Name.String()
		}
	}
	h.Failed(f)
}

// Exchanges are what an operator wants to know of requests that ran a function.
type Exchanges struct {
	Tell func(faas.Exchange)
	Mask *record.Mask
}

// exchanged tells what a request held that ran a function, and its answer. Code is no part of
// it, nor what a stream brings. Without the time of Envoy's log there is no row to which it
// could belong.
func (h *Host) exchanged(c *fasthttp.RequestCtx, params []byte, result *pool.Result, err error) {
	if h.Exchanges == nil {
		return
	}
	began, malformed := strconv.ParseInt(string(c.Request.Header.Peek(startHeader)), 10, 64)
	if malformed != nil || began <= 0 {
		return
	}
	mask := h.Exchanges.Mask
	e := faas.Exchange{
		RequestID: requestID(c), StartedAt: time.UnixMicro(began).UTC(),
		Headers: h.maskedHeaders(c), Request: h.maskedParams(c, params), Metrics: measures(result),
	}
	switch {
	case err != nil:
		e.Response = mask.JSON(faas.AsError(err).Body(faas.InRuntime, e.RequestID))
	case result.Stream == nil:
		e.Response = mask.JSON(result.JSON)
	}
	h.Exchanges.Tell(e)
}

// maskedParams are those of a call. A form is text in them, which has names of its own.
func (h *Host) maskedParams(c *fasthttp.RequestCtx, params []byte) string {
	if kindOf(&c.Request.Header) == formKind {
		return h.Exchanges.Mask.Form(params)
	}
	return h.Exchanges.Mask.JSON(params)
}

// maskedHeaders are those that callers sent, as an object.
func (h *Host) maskedHeaders(c *fasthttp.RequestCtx) json.RawMessage {
	raw, err := json.Marshal(headersOf(&c.Request.Header))
	if err != nil {
		return nil
	}
	headers := h.Exchanges.Mask.JSON(raw)
	if !json.Valid([]byte(headers)) { // it was cut: a document is whole or not there
		return nil
	}
	return json.RawMessage(headers)
}

// measures are what was measured of an invocation.
func measures(r *pool.Result) json.RawMessage {
	b := append([]byte(nil), `{"execution_time_ms":`...)
	b = appendMilliseconds(b, r.Duration)
	b = appendMilliseconds(append(b, `,"queue_ms":`...), r.Queue)
	b = append(b, `,"memory_usage_bytes":`...)
	if r.MemoryBytes <= 0 {
		return append(append(b, nullJSON...), '}')
	}
	return append(strconv.AppendInt(b, r.MemoryBytes, 10), '}')
}
