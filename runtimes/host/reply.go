package host

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"envoke/internal/faas"
	"envoke/runtimes/pool"
)

const requestIDHeader = "X-Request-Id"

var (
	jsonType = []string{"application/json"}
	nullJSON = []byte("null")
)

// write sends a JSON body.
func write(w http.ResponseWriter, status int, body []byte) {
	header := w.Header()
	header["Content-Type"] = jsonType
	header["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	_, _ = w.Write(body) //nolint:gosec // JSON, and named so; if the caller has gone, nothing is left to do
}

// fail answers an error in the documented shape and logs what an operator should
// see: the causes that the caller is not shown.
func (h *Host) fail(w http.ResponseWriter, r *http.Request, err error) {
	e := faas.AsError(err)
	id := r.Header.Get(requestIDHeader)
	if level := logLevel(r.Context(), e); h.Logger.Enabled(r.Context(), level) {
		h.Logger.Log(r.Context(), level, "request failed",
			slog.String("request_id", id), slog.String("path", r.URL.Path), slog.Any("error", err))
	}
	if seconds, ok := e.Details["retry_after_seconds"].(int); ok {
		w.Header().Set("Retry-After", strconv.Itoa(seconds))
	}
	if e.Code == faas.PayloadTooLarge {
		// The rest of the body is not wanted: end the connection after the reply.
		w.Header().Set("Connection", "close")
	}
	write(w, e.HTTPStatus(), e.Body(faas.InRuntime, id))
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
// need no escaping: both are checked to be plain ASCII.
func appendResult(b []byte, session *faas.Session, result pool.Result) []byte {
	b = append(b, `{"result":`...)
	b = append(b, result.JSON...)
	b = append(b, `,"request_id":"`...)
	b = append(b, session.ID...)
	b = append(b, `","language_title":"`...)
	b = append(b, session.Name.Language...)
	b = append(b, '-')
	b = append(b, session.Name.Title...)
	b = append(b, `","execution_time_ms":`...)
	b = strconv.AppendFloat(b, float64(result.Duration)/float64(time.Millisecond), 'f', 3, 64)
	b = append(b, `,"memory_usage_bytes":`...)
	if result.MemoryBytes < 0 {
		b = append(b, nullJSON...)
	} else {
		b = strconv.AppendInt(b, result.MemoryBytes, 10)
	}
	return append(b, `,"cached":false}`...)
}
