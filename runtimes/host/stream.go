package host

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/valyala/fasthttp"

	"envoke/internal/faas"
	"envoke/runtimes/bundle"
	"envoke/runtimes/fault"
	"envoke/runtimes/frame"
	"envoke/runtimes/pool"
)

const (
	eventStream = "text/event-stream"
	// stallTimeout is how long a caller may take nothing of what a function has sent.
	stallTimeout = 30 * time.Second
)

// acceptsEvents tells whether the caller wants server-sent events.
func acceptsEvents(c *fasthttp.RequestCtx) bool {
	return bytes.Contains(c.Request.Header.Peek(fasthttp.HeaderAccept), []byte(eventStream))
}

// streamForm is how the parts of a stream are written.
type streamForm struct {
	part func([]byte, pool.Part) []byte
	// end and failed append what is written after the last part, and in place of what a
	// failure left out. Without the second the connection is broken off, so that nobody
	// takes what came for the whole.
	end    func([]byte) []byte
	failed func([]byte, error) []byte
}

// respondStream sends what a function makes as it makes it: as it is, or as events.
func (h *Host) respondStream(ctx context.Context, c *fasthttp.RequestCtx, session *bundle.Session, stream *pool.Stream) error {
	r, err := headOf(stream.Head)
	if err != nil {
		stream.Close()
		return err
	}
	c.SetStatusCode(r.status)
	if r.status == http.StatusNoContent || r.status == http.StatusNotModified {
		stream.Close()
		return nil
	}
	body := h.newStreamBody(ctx, c, session, stream)
	if err := body.first(); err != nil {
		return err
	}
	form := rawForm()
	switch own := r.header(fasthttp.HeaderContentType); {
	case own == "" && acceptsEvents(c):
		form = eventForm(requestID(c))
		r.contentType = eventStream
	case own == "":
		r.contentType = body.contentType()
	}
	for _, header := range r.headers {
		c.Response.Header.Add(header.name, header.value)
	}
	if r.contentType != "" {
		c.SetContentType(r.contentType)
	}
	body.send(c, form)
	return nil
}

// headOf reads what goes with the parts of a stream.
func headOf(head []byte) (response, error) {
	if isNull(head) {
		return response{status: http.StatusOK}, nil
	}
	r, err := newResponse(head)
	if err == nil && len(r.body) > 0 { // it is no response, but a value like others
		return response{}, badResponse("statusCode must be an integer from 200 to 599")
	}
	return r, err
}

func (r *response) header(name string) string {
	for _, h := range r.headers {
		if strings.EqualFold(h.name, name) {
			return h.value
		}
	}
	return ""
}

// runEvents sends what a function makes as events, and the envelope as the last one.
func (h *Host) runEvents(ctx context.Context, c *fasthttp.RequestCtx, in invocation, stream *pool.Stream) error {
	body := h.newStreamBody(ctx, c, in.session, stream)
	if err := body.first(); err != nil {
		return err
	}
	form := eventForm(requestID(c))
	form.end = func(b []byte) []byte {
		result := stream.Measures()
		result.JSON = nullJSON
		return append(appendResult(append(b, "event: result\ndata: "...), &in.session.Session, result), "\n\n"...)
	}
	c.SetContentType(eventStream)
	body.send(c, form)
	return nil
}

// rawForm is for callers who want what the function made and nothing else: text and bytes
// as they are, a line of JSON for each other value.
func rawForm() streamForm {
	return streamForm{part: func(b []byte, p pool.Part) []byte {
		switch {
		case p.Kind == frame.BytesPart:
			return append(b, p.Data...)
		case isString(p.Data):
			b, _ = jsontext.AppendUnquote(b, p.Data) // a lone surrogate becomes U+FFFD
			return b
		}
		return append(append(b, p.Data...), '\n')
	}}
}

// eventForm is server-sent events: text as it is, all else as JSON.
func eventForm(requestID string) streamForm {
	return streamForm{
		part: func(b []byte, p pool.Part) []byte {
			data := p.AppendJSON(nil)
			if isString(data) {
				data, _ = jsontext.AppendUnquote(nil, data)
			}
			return append(appendData(b, data), '\n')
		},
		end: func(b []byte) []byte { return b },
		failed: func(b []byte, err error) []byte {
			b = append(b, "event: error\n"...)
			return append(appendData(b, faas.AsError(err).Body(faas.InRuntime, requestID)), '\n')
		},
	}
}

// appendData appends the lines of an event's data.
func appendData(b, data []byte) []byte {
	for line := range bytes.Lines(data) {
		b = append(append(append(b, "data: "...), bytes.TrimRight(line, "\r\n")...), '\n')
	}
	if len(data) == 0 {
		b = append(b, "data:\n"...)
	}
	return b
}

func isString(json []byte) bool { return len(json) > 0 && json[0] == '"' }

// streamBody is the body of a response, read by the server as the function makes it.
type streamBody struct {
	host      *Host
	ctx       context.Context //nolint:containedctx // of the request, which lasts as long
	conn      *conn
	requestID string
	stream    *pool.Stream
	form      streamForm

	limit int         // bytes of all parts; 0: none
	taken int         // bytes of parts so far
	parts []pool.Part // the first
	ready []byte      // to be written
	ended error
}

func (h *Host) newStreamBody(ctx context.Context, c *fasthttp.RequestCtx, session *bundle.Session, stream *pool.Stream) *streamBody {
	return &streamBody{
		host: h, ctx: ctx, conn: c.Conn().(*conn), requestID: requestID(c), stream: stream, limit: session.Limits.Output,
	}
}

// first waits for the first part: a function that fails before has failed as any other.
func (b *streamBody) first() error {
	parts, err := b.stream.Next(b.ctx)
	if errors.Is(err, io.EOF) {
		b.ended = io.EOF
		return nil
	}
	if err != nil {
		b.stream.Close()
	}
	b.parts = parts
	return err
}

// contentType is told by the first part.
func (b *streamBody) contentType() string {
	switch {
	case len(b.parts) == 0:
		return ""
	case b.parts[0].Kind == frame.BytesPart:
		return "application/octet-stream"
	case isString(b.parts[0].Data):
		return "text/plain; charset=utf-8"
	}
	return "application/x-ndjson"
}

// send makes it the body of the response.
func (b *streamBody) send(c *fasthttp.RequestCtx, form streamForm) {
	b.form = form
	if err := b.write(b.parts); err != nil {
		b.ended = err
	}
	b.parts = nil
	if b.ended != nil {
		b.finish(b.ended)
	}
	c.Response.SetBodyStream(b, -1)
}

func (b *streamBody) write(parts []pool.Part) error {
	for _, part := range parts {
		if b.taken += len(part.Data); b.limit > 0 && b.taken > b.limit {
			return fault.Output(b.limit)
		}
		b.ready = b.form.part(b.ready, part)
	}
	return nil
}

// Read waits for what the function makes.
func (b *streamBody) Read(p []byte) (int, error) {
	for len(b.ready) == 0 {
		if b.ended != nil {
			return 0, b.ended
		}
		b.ready = b.ready[:0]
		parts, err := b.stream.Next(b.ctx)
		if over := b.write(parts); over != nil {
			err = over
		}
		if err != nil {
			b.finish(err)
		}
	}
	n := copy(p, b.ready)
	b.ready = b.ready[n:]
	return n, b.conn.SetWriteDeadline(time.Now().Add(stallTimeout))
}

// finish ends the body as the stream has ended.
func (b *streamBody) finish(err error) {
	b.ended = err
	switch {
	case errors.Is(err, io.EOF):
		if b.form.end != nil {
			b.ready = b.form.end(b.ready)
		}
		return
	case b.form.failed != nil:
		b.ready, b.ended = b.form.failed(b.ready, err), io.EOF
	}
	b.host.tell(faas.NewFailure(b.requestID, faas.InRuntime, faas.AsError(err)), b.conn.session)
}

// Close is called by the server in any case.
func (b *streamBody) Close() error {
	b.stream.Close()
	return b.conn.SetWriteDeadline(time.Time{})
}
