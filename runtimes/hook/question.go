package hook

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc/metadata"

	"envoke/internal/faas"
)

// question is which hook Envoy asks for. All of it is of Envoy's configuration.
type question struct {
	function faas.Ref
	route    string
	phase    faas.Phase
	deadline time.Duration
	open     bool // the request goes on where the hook fails
	checked  bool // who calls: else anybody may have said so
}

func questionOf(ctx context.Context) (question, error) {
	one := func(name string) string {
		if values := metadata.ValueFromIncomingContext(ctx, name); len(values) > 0 {
			return values[0]
		}
		return ""
	}
	q := question{phase: faas.Phase(one(faas.HookPhase)), open: one(faas.HookFailure) == faas.HookOpen, checked: one(faas.HookChecked) != ""}
	if q.phase != faas.RequestPhase && q.phase != faas.ResponsePhase {
		return q, fmt.Errorf("the stream's phase %.20q is none", q.phase)
	}
	microseconds, err := strconv.ParseInt(one(faas.HookDeadline), 10, 64)
	if q.deadline = time.Duration(microseconds) * time.Microsecond; err != nil || q.deadline <= 0 || q.deadline > faas.MaxHookDeadline {
		return q, errors.New("the stream's deadline is out of range")
	}
	if q.route, err = url.PathUnescape(one(faas.HookRoute)); err != nil {
		return q, errors.New("the stream's route is not well escaped")
	}
	q.function, err = faas.ParseRefKey(one(faas.HookFunction))
	return q, err
}

// exchange is one request or response that a hook is asked about.
type exchange struct {
	question
	id      string // x-request-id
	user    string // who calls, verified
	headers []*corev3.HeaderValue
	pseudo  pseudo
	arrived time.Time
}

// pseudo are the headers of HTTP/2 that are none of HTTP/1.1.
type pseudo struct{ method, path, authority, scheme, status string }

// of is the question about what a message holds, which must be of its phase.
func (q question) of(message *extprocv3.ProcessingRequest) (exchange, error) {
	x := exchange{question: q}
	switch part := message.GetRequest().(type) {
	case *extprocv3.ProcessingRequest_RequestHeaders:
		if q.phase != faas.RequestPhase {
			return x, errors.New("request headers are not this hook's")
		}
		x.headers = part.RequestHeaders.GetHeaders().GetHeaders()
	case *extprocv3.ProcessingRequest_ResponseHeaders:
		if q.phase != faas.ResponsePhase {
			return x, errors.New("response headers are not this hook's")
		}
		x.headers = part.ResponseHeaders.GetHeaders().GetHeaders()
		x.readAttributes(message)
	default:
		return x, errors.New("a hook is asked about headers only")
	}
	x.readHeaders()
	return x, nil
}

// readHeaders notes what has a meaning of its own.
func (x *exchange) readHeaders() {
	for _, h := range x.headers {
		switch h.GetKey() {
		case ":method":
			x.pseudo.method = textOf(h)
		case ":path":
			x.pseudo.path = textOf(h)
		case ":authority":
			x.pseudo.authority = textOf(h)
		case ":scheme":
			x.pseudo.scheme = textOf(h)
		case ":status":
			x.pseudo.status = textOf(h)
		case "x-request-id":
			if x.phase == faas.RequestPhase {
				x.id = textOf(h)
			}
		case faas.UserHeader:
			if x.phase == faas.RequestPhase && x.checked { // an upstream may say what it likes
				x.user = textOf(h)
			}
		}
	}
}

// filterName is what Envoy keys attributes by.
const filterName = "envoy.filters.http.ext_proc"

// readAttributes notes what Envoy tells of a response's request.
func (x *exchange) readAttributes(message *extprocv3.ProcessingRequest) {
	fields := message.GetAttributes()[filterName].GetFields()
	x.id = fields[faas.HookRequestID].GetStringValue()
	if x.checked {
		x.user = fields[faas.HookUser].GetStringValue()
	}
}

// textOf reads the field that Envoy uses today, else the one it used before.
func textOf(h *corev3.HeaderValue) string {
	if raw := h.GetRawValue(); len(raw) > 0 {
		return string(raw)
	}
	return h.GetValue()
}
