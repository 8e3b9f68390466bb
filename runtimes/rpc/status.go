package rpc

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"envoke/internal/faas"
)

// grpcCodes has every code of the API. Where several share a status, the reason tells
// them apart.
var grpcCodes = map[faas.Code]codes.Code{
	faas.InvalidRequest:      codes.InvalidArgument,
	faas.InvalidParams:       codes.InvalidArgument,
	faas.InitializationError: codes.InvalidArgument,
	faas.Unauthorized:        codes.Unauthenticated,
	faas.Forbidden:           codes.PermissionDenied,
	faas.NotFound:            codes.NotFound,
	faas.Conflict:            codes.Aborted,
	faas.PayloadTooLarge:     codes.ResourceExhausted,
	faas.RateLimited:         codes.ResourceExhausted,
	faas.RuntimeError:        codes.Unknown, // what gRPC makes of an exception
	faas.Timeout:             codes.DeadlineExceeded,
	faas.ResourceExhausted:   codes.ResourceExhausted,
	faas.Unavailable:         codes.Unavailable,
	faas.InternalError:       codes.Internal,
}

const errorDomain = "envoke"

// A status travels in trailers, of which clients take 8 KiB by default, and its
// message does so twice: what is left by these bounds is for escapes and base64.
const (
	maxMessage = 1 << 10 // bytes of a message
	maxDetail  = 256     // bytes of a detail but the stack trace
	maxDetails = 2 << 10 // bytes of all details
)

// toStatus makes the status of an error: its message, and an ErrorInfo of its code and
// details.
func toStatus(e *faas.Error, requestID string) error {
	code, ok := grpcCodes[e.Code]
	if !ok {
		code = codes.Internal
	}
	bare := status.New(code, cut(e.Message, maxMessage))
	detailed, err := bare.WithDetails(&errdetails.ErrorInfo{
		Reason: string(e.Code), Domain: errorDomain, Metadata: details(e, requestID),
	})
	if err != nil {
		return bare.Err()
	}
	return detailed.Err()
}

// stackTrace is the detail that gets what room the others leave.
const stackTrace = "stack_trace"

// details are those of the error as text. What is long is cut, and what finds no room
// left out.
func details(e *faas.Error, requestID string) map[string]string {
	all, room := map[string]string{}, maxDetails
	add := func(name, value string, most int) {
		if most = min(most, room-len(name)); value != "" && most >= maxDetail {
			all[name] = cut(value, most)
			room -= len(name) + len(all[name])
		}
	}
	add("component", string(faas.InRuntime), maxDetail)
	add("request_id", requestID, maxDetail)
	for _, name := range slices.Sorted(maps.Keys(e.Details)) {
		if name != stackTrace {
			add(name, text(e.Details[name]), maxDetail)
		}
	}
	add(stackTrace, text(e.Details[stackTrace]), maxDetails)
	return all
}

// text is a detail's value as the JSON of the HTTP API has it, without a string's
// quotes.
func text(value any) string {
	switch value := value.(type) {
	case nil:
		return ""
	case string:
		return value
	case faas.Component:
		return string(value)
	}
	raw, err := json.Marshal(value)
	if err != nil {
		return ""
	}
	return string(raw)
}

// cut shortens a text to at most limit bytes of UTF-8, and shows that it did.
func cut(s string, limit int) string {
	const more = "…"
	if len(s) <= limit {
		return strings.ToValidUTF8(s, "\uFFFD")
	}
	return strings.ToValidUTF8(s[:max(0, limit-len(more))], "") + more
}
