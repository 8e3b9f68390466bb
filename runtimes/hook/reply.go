package hook

import (
	"strconv"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"envoke/internal/faas"
	"envoke/runtimes/host"
)

var (
	requestPasses  = of(faas.RequestPhase, nil)
	responsePasses = of(faas.ResponsePhase, nil)
)

// passes lets a message go on as it is. The answer is shared.
func passes(phase faas.Phase) *extprocv3.ProcessingResponse {
	if phase == faas.RequestPhase {
		return requestPasses
	}
	return responsePasses
}

// of is an answer of the type that Envoy expects.
func of(phase faas.Phase, common *extprocv3.CommonResponse) *extprocv3.ProcessingResponse {
	headers := &extprocv3.HeadersResponse{Response: common}
	if phase == faas.RequestPhase {
		return &extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_RequestHeaders{RequestHeaders: headers}}
	}
	return &extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_ResponseHeaders{ResponseHeaders: headers}}
}

func (v verdict) decision(phase faas.Phase) decision {
	switch {
	case v.answer != nil:
		return decision{answered, immediate(*v.answer)}
	case v.passes():
		return decision{passed, passes(phase)}
	}
	mutation := &extprocv3.HeaderMutation{RemoveHeaders: v.remove}
	var o options
	for _, h := range v.set {
		o.set(h)
	}
	for _, h := range v.add {
		o.add(h)
	}
	mutation.SetHeaders = o.list
	return decision{changed, of(phase, &extprocv3.CommonResponse{HeaderMutation: mutation})}
}

// options are headers as Envoy wants them.
type options struct {
	list []*corev3.HeaderValueOption
	seen map[string]bool
}

// set replaces what there is of a name, but for what it has set itself.
func (o *options) set(h header) {
	if o.seen[h.name] {
		o.add(h)
		return
	}
	if o.seen == nil {
		o.seen = map[string]bool{}
	}
	o.seen[h.name] = true
	o.list = append(o.list, &corev3.HeaderValueOption{
		Header:       &corev3.HeaderValue{Key: h.name, RawValue: []byte(h.value)}, // Envoy takes a Value for an empty header
		AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
	})
}

// add uses a field that is deprecated: without it, of two headers of a name that Envoy gets in
// one answer only the last survives.
func (o *options) add(h header) {
	o.list = append(o.list, &corev3.HeaderValueOption{
		Header: &corev3.HeaderValue{Key: h.name, RawValue: []byte(h.value)},
		Append: wrapperspb.Bool(true),
	})
}

// immediate ends the request with what the function answers. Without a type of its own, Envoy
// would call any body text.
func immediate(r host.Response) *extprocv3.ProcessingResponse {
	var o options
	for _, h := range r.Headers {
		o.set(header{strings.ToLower(h[0]), h[1]})
	}
	return &extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_ImmediateResponse{
		ImmediateResponse: &extprocv3.ImmediateResponse{
			Status:  &typev3.HttpStatus{Code: typev3.StatusCode(r.Status)},
			Headers: &extprocv3.HeaderMutation{SetHeaders: o.list}, Body: r.Body,
			Details: faas.HookAnswer,
		},
	}}
}

// refusal ends the request where its hook failed. Whoever calls is told which route it is, and
// the function's own words are for the log.
func refusal(x exchange, e *faas.Error) *extprocv3.ProcessingResponse {
	told := x.named(&faas.Error{
		Code: faas.Unavailable, Message: messages[x.phase],
		Details: map[string]any{"component": componentOf(e), "reason": e.Code},
	})
	r := host.Response{
		Status: told.HTTPStatus(), Body: told.Body(faas.InRuntime, x.id),
		Headers: [][2]string{{"content-type", "application/json"}},
	}
	if seconds, ok := e.Details["retry_after_seconds"].(int); ok {
		r.Headers = append(r.Headers, [2]string{"retry-after", strconv.Itoa(seconds)})
	}
	return immediate(r)
}

var messages = map[faas.Phase]string{
	faas.RequestPhase:  "the hook of this route failed, so the request was not let through; the log has why, under the request's id",
	faas.ResponsePhase: "the hook of this route failed, so the response was not let through; the log has why, under the request's id",
}

// componentOf is the layer that failed.
func componentOf(e *faas.Error) any {
	if component, ok := e.Details["component"]; ok {
		return component
	}
	return faas.InRuntime
}
