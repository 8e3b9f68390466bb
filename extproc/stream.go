package extproc

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"

	"envoke/internal/faas"
)

// request is what the headers of one HTTP request say that matters here.
type request struct {
	id           string // x-request-id, for errors and logs
	method       string
	path         string // without the query
	target       string // the path with the query
	title        field
	cacheControl field

	caller        [6]string // the values of faas.CallerHeaders
	scopes        string    // of the caller, where callers are checked
	callKey       string
	grpc          bool  // by its content type
	contentLength int64 // -1: not announced

	caching *caching // nil: its result is not cached; set by its operation
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
	r := &request{contentLength: -1}
	for _, h := range headers.GetHeaders() {
		switch h.GetKey() {
		case ":method":
			r.method = valueOf(h)
		case ":path":
			r.target = valueOf(h)
			r.path, _, _ = strings.Cut(r.target, "?")
		case "x-request-id":
			r.id = valueOf(h)
		case titleHeader:
			r.title.add(valueOf(h))
		case "x-cache-control":
			r.cacheControl.add(valueOf(h))
		case "content-type":
			r.grpc = strings.HasPrefix(valueOf(h), faas.GRPCContentType)
		case "content-length":
			r.contentLength = lengthOf(h)
		case faas.ScopesHeader:
			r.scopes = valueOf(h)
		case callKeyHeader:
			r.callKey = valueOf(h)
		default:
			r.addCaller(h)
		}
	}
	return r
}

// lengthOf is -1 where the header makes no sense.
func lengthOf(h *corev3.HeaderValue) int64 {
	length, err := strconv.ParseInt(valueOf(h), 10, 64)
	if err != nil {
		return -1
	}
	return length
}

// user is who calls: Envoy has checked it, or nobody is named.
func (r *request) user() string { return r.caller[userIndex] }

// namespace is that of the caller, which Envoy has checked too.
func (r *request) namespace() faas.Namespace { return faas.Namespace(r.caller[namespaceIndex]) }

// from tells whether the caller is that user of that namespace.
func (r *request) from(n faas.Namespace, user string) bool {
	return faas.Caller{Namespace: r.namespace(), UserID: r.user()}.Is(n, user)
}

var (
	userIndex      = slices.Index(faas.CallerHeaders(), faas.UserHeader)
	namespaceIndex = slices.Index(faas.CallerHeaders(), faas.NamespaceHeader)
)

var callerHeaders = faas.CallerHeaders()

// addCaller joins what is sent several times as Envoy and RFC 9110 (5.3) do.
func (r *request) addCaller(h *corev3.HeaderValue) {
	i := slices.Index(callerHeaders, h.GetKey())
	if i < 0 {
		return
	}
	if r.caller[i] != "" {
		r.caller[i] += ","
	}
	r.caller[i] += valueOf(h)
}

// valueOf reads the field that Envoy uses today, else the one it used before.
func valueOf(h *corev3.HeaderValue) string {
	if raw := h.GetRawValue(); len(raw) > 0 {
		return string(raw)
	}
	return h.GetValue()
}

// decide finds the operation and runs it: the request goes on, or ends here with an error.
func (s *Server) decide(ctx context.Context, r *request) (pass, faas.Operation, error) {
	operation, handle := find(r)
	bounded := &lookup{Context: ctx}
	defer bounded.end()
	p, err := s.run(bounded, r, handle)
	return p, operation, err
}

// run contains a panic in the request that caused it.
func (s *Server) run(ctx context.Context, r *request, handle handler) (_ pass, err error) {
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
	s.tell(r, failure)
	return immediate(failure, r.id)
}

// tell tells of a request that is refused, with what its headers say of its function.
func (s *Server) tell(r *request, e *faas.Error) {
	f := faas.NewFailure(r.id, faas.InExtProc, e)
	f.LanguageTitle = strings.ToValidUTF8(r.title.value[:min(len(r.title.value), maxTitle)], "")
	if id := faas.SessionID(r.path[strings.LastIndexByte(r.path, '/')+1:]); id != "" {
		if language, ok := id.Language(); ok {
			f.SessionID, f.Language = id, language
		}
	}
	s.failed(f)
}

// maxTitle bounds what is told of the name in a header, in bytes.
const maxTitle = 256
