package extproc

import (
	"strconv"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	filterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"envoke/internal/resultcache"
)

type bodyMode = filterv3.ProcessingMode_BodySendMode

const (
	noBody = filterv3.ProcessingMode_NONE
	// bufferedBody is the whole body. It is asked for only where it is announced and not
	// too large: Envoy refuses more than it can hold, and with BUFFERED_PARTIAL, which
	// would send what it can hold, some uploads stall.
	bufferedBody = filterv3.ProcessingMode_BUFFERED
)

// uncachedNote tells the filter that results of the function are not cached.
var uncachedNote = &structpb.Struct{Fields: map[string]*structpb.Value{
	"envoke": structpb.NewStructValue(&structpb.Struct{Fields: map[string]*structpb.Value{
		"uncached": structpb.NewStringValue("1"),
	}}),
}}

var askHost = option(header{cacheHeader, "1"}, corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD)

// watch lets a request go on as the answer says, and asks for its body and for its
// response, whose host is to say whether others may have it.
func watch(p pass, body bodyMode) *extprocv3.ProcessingResponse {
	answer := p.with(askHost)
	answer.ModeOverride = &filterv3.ProcessingMode{
		RequestHeaderMode:   filterv3.ProcessingMode_SEND,
		RequestBodyMode:     body,
		ResponseHeaderMode:  filterv3.ProcessingMode_SEND,
		RequestTrailerMode:  filterv3.ProcessingMode_SKIP,
		ResponseTrailerMode: filterv3.ProcessingMode_SKIP,
	}
	return answer
}

// watchResponse lets a response's headers go on, without what was for us, and asks for
// its body.
func watchResponse(body bodyMode, headers ...header) *extprocv3.ProcessingResponse {
	answer := &extprocv3.ProcessingResponse{
		Response: &extprocv3.ProcessingResponse_ResponseHeaders{
			ResponseHeaders: &extprocv3.HeadersResponse{Response: &extprocv3.CommonResponse{
				HeaderMutation: &extprocv3.HeaderMutation{
					SetHeaders: options(headers), RemoveHeaders: []string{cacheableHeader},
				},
			}},
		},
	}
	if body != noBody {
		answer.ModeOverride = &filterv3.ProcessingMode{
			RequestHeaderMode:   filterv3.ProcessingMode_SEND,
			ResponseHeaderMode:  filterv3.ProcessingMode_SEND,
			ResponseBodyMode:    body,
			RequestTrailerMode:  filterv3.ProcessingMode_SKIP,
			ResponseTrailerMode: filterv3.ProcessingMode_SKIP,
		}
	}
	return answer
}

// responsePasses lets a response's headers go on, without what was for us.
func responsePasses() *extprocv3.ProcessingResponse { return watchResponse(noBody) }

var (
	bodyPasses = emptyAnswer(&extprocv3.ProcessingRequest{
		Request: &extprocv3.ProcessingRequest_RequestBody{},
	})
	responseBodyPasses = emptyAnswer(&extprocv3.ProcessingRequest{
		Request: &extprocv3.ProcessingRequest_ResponseBody{},
	})
)

// moreTime asks Envoy to wait longer for the answer to the message it has sent.
func moreTime(timeout time.Duration) *extprocv3.ProcessingResponse {
	return &extprocv3.ProcessingResponse{OverrideMessageTimeout: durationpb.New(timeout)}
}

// appended is a header that may be there several times. Of those that only the newer
// field describes, Envoy keeps the last.
func appended(h header) *corev3.HeaderValueOption {
	o := option(h, corev3.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD)
	o.Append = wrapperspb.Bool(true) //nolint:staticcheck // see above
	return o
}

// replayOf ends the request with an answer from the cache, of an entry that is so many
// seconds old.
func replayOf(entry *resultcache.Entry, age int64, more ...*corev3.HeaderValueOption) *extprocv3.ProcessingResponse {
	headers := make([]*corev3.HeaderValueOption, 0, len(entry.Headers)+2+len(more))
	for _, h := range entry.Headers {
		headers = append(headers, appended(header{h.Name, h.Value}))
	}
	headers = append(headers, appended(header{"age", strconv.FormatInt(age, 10)}),
		appended(header{"server-timing", `cache;desc="ext_proc"`}))
	headers = append(headers, more...)
	return &extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_ImmediateResponse{
		ImmediateResponse: &extprocv3.ImmediateResponse{
			Status:  &typev3.HttpStatus{Code: typev3.StatusCode(entry.Status)},
			Headers: &extprocv3.HeaderMutation{SetHeaders: headers},
			Body:    entry.Body,
			Details: cachedDetails,
		},
	}}
}
