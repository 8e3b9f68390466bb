package extproc

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"

	"envoke/internal/faas"
)

// request is what the headers of one HTTP request say that matters here.
type request struct {
	id           string // x-request-id, for errors and logs
	method       string
	path         string // without the query
	title        field
	cacheControl field
}

// field is a header that may be sent once. Envoy delivers a doubled one twice or
// joined by a comma.
type field struct {
	value string
	count int
}

func (f *field) add(value string) {
	f.value = value
	f.count += 1 + strings.Count(value, ",")
}

func readHeaders(headers *corev3.HeaderMap) *request {
	r := &request{}
	for _, h := range headers.GetHeaders() {
		switch h.GetKey() {
		case ":method":
			r.method = valueOf(h)
		case ":path":
			r.path, _, _ = strings.Cut(valueOf(h), "?")
		case "x-request-id":
			r.id = valueOf(h)
		case titleHeader:
			r.title.add(valueOf(h))
		case "x-cache-control":
			r.cacheControl.add(valueOf(h))
		}
	}
	return r
}

// valueOf reads the field that Envoy uses today, else the one it used before.
func valueOf(h *corev3.HeaderValue) string {
	if raw := h.GetRawValue(); len(raw) > 0 {
		return string(raw)
	}
	return h.GetValue()
}

// decide finds the operation and runs it: the request goes on with new headers or
// ends here with an error.
func (s *Server) decide(ctx context.Context, r *request) *extprocv3.ProcessingResponse {
	started := time.Now()
	operation, handle := find(r)
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	answer, err := s.run(ctx, r, handle)
	if err != nil {
		answer = s.refuse(ctx, r, err)
	}
	s.metrics.observe(operation, err, time.Since(started))
	return answer
}

// run contains a panic in the request that caused it.
func (s *Server) run(ctx context.Context, r *request, handle handler) (answer *extprocv3.ProcessingResponse, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return handle(s, ctx, r)
}

// refuse makes the reply of an error, and logs those that the reply does not tell.
// When Envoy has gone meanwhile there is nothing to tell anybody.
func (s *Server) refuse(ctx context.Context, r *request, err error) *extprocv3.ProcessingResponse {
	failure := faas.AsError(err)
	if failure.Code == faas.InternalError && !errors.Is(err, context.Canceled) {
		s.logger.ErrorContext(ctx, "decide about a request", "request_id", r.id, "error", err)
	}
	return immediate(failure, r.id)
}
