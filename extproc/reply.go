package extproc

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"

	"envoke/internal/faas"
)

// The headers that Envoy's routes and the runtime hosts read. Envoy strips them
// from what callers send, before anything else.
const (
	sessionHeader  = "x-envoke-session"
	hashHeader     = "x-envoke-hash"
	clusterHeader  = "x-envoke-cluster"
	functionHeader = "x-envoke-function"

	callKeyHeader   = "x-envoke-key"       // of the filter: the digest of the call
	cacheHeader     = "x-envoke-cache"     // asks the host whether others may have the response
	cacheableHeader = "x-envoke-cacheable" // the host's answer: they may, and these are its headers
	keepHeader      = "x-envoke-keep"      // tells the filter for how many milliseconds they may, and their age

	titleHeader = "language-title" // of callers
)

// immediateDetails marks a reply as ours in Envoy's access log and for its
// local_reply_config, which must not rewrite it.
const immediateDetails = "envoke"

// cachedDetails marks an answer from the cache.
const cachedDetails = "envoke_cache"

type header struct{ key, value string }

func clusterOf(language faas.Language) string { return "runtime-" + string(language) }

// pass lets a request go on, as it is where nothing is said. It becomes an answer only
// where no other comes from the cache.
type pass struct {
	headers []header // that it gets
	// reroute has Envoy select the route again: it resolves cluster_header when it does.
	reroute bool
	// uncached tells the filter that results of the function are not cached.
	uncached bool
}

// asIs is the answer of a pass that says nothing.
var asIs = emptyAnswer(&extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_RequestHeaders{}})

func (p pass) answer() *extprocv3.ProcessingResponse {
	if len(p.headers) == 0 {
		return asIs
	}
	answer := p.with()
	if p.uncached {
		answer.DynamicMetadata = uncachedNote
	}
	return answer
}

// with is the answer with more headers.
func (p pass) with(more ...*corev3.HeaderValueOption) *extprocv3.ProcessingResponse {
	return &extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_RequestHeaders{
		RequestHeaders: &extprocv3.HeadersResponse{Response: &extprocv3.CommonResponse{
			HeaderMutation:  &extprocv3.HeaderMutation{SetHeaders: append(more, options(p.headers)...)},
			ClearRouteCache: p.reroute,
		}},
	}}
}

func options(headers []header) []*corev3.HeaderValueOption {
	set := make([]*corev3.HeaderValueOption, len(headers))
	for i, h := range headers {
		set[i] = option(h, corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD)
	}
	return set
}

// option uses RawValue: Envoy takes a Value for an empty header.
func option(h header, action corev3.HeaderValueOption_HeaderAppendAction) *corev3.HeaderValueOption {
	return &corev3.HeaderValueOption{
		Header:       &corev3.HeaderValue{Key: h.key, RawValue: []byte(h.value)},
		AppendAction: action,
	}
}

// immediate ends the request with an error. Envoy adds x-request-id by itself.
func immediate(e *faas.Error, requestID string) *extprocv3.ProcessingResponse {
	contentType := option(header{"content-type", "application/json"}, corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD)
	return &extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_ImmediateResponse{
		ImmediateResponse: &extprocv3.ImmediateResponse{
			Status:  &typev3.HttpStatus{Code: typev3.StatusCode(e.HTTPStatus())},
			Headers: &extprocv3.HeaderMutation{SetHeaders: []*corev3.HeaderValueOption{contentType}},
			Body:    e.Body(faas.InExtProc, requestID),
			Details: immediateDetails,
		},
	}}
}

// emptyAnswer passes a message on untouched; nil for a type that is not known.
func emptyAnswer(message *extprocv3.ProcessingRequest) *extprocv3.ProcessingResponse {
	switch message.GetRequest().(type) {
	case *extprocv3.ProcessingRequest_RequestHeaders:
		return &extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_RequestHeaders{
			RequestHeaders: &extprocv3.HeadersResponse{},
		}}
	case *extprocv3.ProcessingRequest_RequestBody:
		return &extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_RequestBody{
			RequestBody: &extprocv3.BodyResponse{},
		}}
	case *extprocv3.ProcessingRequest_RequestTrailers:
		return &extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_RequestTrailers{
			RequestTrailers: &extprocv3.TrailersResponse{},
		}}
	case *extprocv3.ProcessingRequest_ResponseHeaders:
		return &extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_ResponseHeaders{
			ResponseHeaders: &extprocv3.HeadersResponse{},
		}}
	case *extprocv3.ProcessingRequest_ResponseBody:
		return &extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_ResponseBody{
			ResponseBody: &extprocv3.BodyResponse{},
		}}
	case *extprocv3.ProcessingRequest_ResponseTrailers:
		return &extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_ResponseTrailers{
			ResponseTrailers: &extprocv3.TrailersResponse{},
		}}
	}
	return nil
}
