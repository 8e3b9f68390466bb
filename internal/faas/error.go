package faas

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"
)

// Code is the machine-readable kind of a failure, as written on the wire.
type Code string

// The codes of the wire contract.
const (
	InvalidRequest      Code = "INVALID_REQUEST"
	InvalidParams       Code = "INVALID_PARAMS"
	InitializationError Code = "INITIALIZATION_ERROR"
	Unauthorized        Code = "UNAUTHORIZED"
	Forbidden           Code = "FORBIDDEN"
	NotFound            Code = "NOT_FOUND"
	Conflict            Code = "CONFLICT"
	PayloadTooLarge     Code = "PAYLOAD_TOO_LARGE"
	RateLimited         Code = "RATE_LIMITED"
	RuntimeError        Code = "RUNTIME_ERROR"
	Timeout             Code = "TIMEOUT"
	ResourceExhausted   Code = "RESOURCE_EXHAUSTED"
	Unavailable         Code = "UNAVAILABLE"
	InternalError       Code = "INTERNAL_ERROR"
)

// statusOf has numbers because net/http would make the filter half as large again.
var statusOf = map[Code]int{
	InvalidRequest:      400,
	InvalidParams:       400,
	InitializationError: 422,
	Unauthorized:        401,
	Forbidden:           403,
	NotFound:            404,
	Conflict:            409,
	PayloadTooLarge:     413,
	RateLimited:         429,
	RuntimeError:        500,
	Timeout:             504,
	ResourceExhausted:   507,
	Unavailable:         503,
	InternalError:       500,
}

// HTTPStatus is the status of the code; 0: it is none of ours.
func (c Code) HTTPStatus() int { return statusOf[c] }

// Component is the layer that failed, in details.component of an error.
type Component string

// The components a caller may be shown.
const (
	InEnvoy    Component = "envoy"
	InExtProc  Component = "extproc"
	InControl  Component = "control"
	InRuntime  Component = "runtime"
	InFunction Component = "function"
	InOpenFaaS Component = "openfaas" // a gateway of somebody else
)

// Error is a failure that a caller may be told of. Code, Message and Details are
// for the caller; Err is for the log and is never shown.
type Error struct {
	Code    Code
	Message string
	// Status overrides the code's own HTTP status where it is not 0 (405, 408).
	Status int
	// Details holds more for the caller, such as line, column and stack_trace.
	// The key "component" is reserved.
	Details map[string]any
	Err     error
}

func (e *Error) Error() string {
	s := string(e.Code) + ": " + e.Message
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// HTTPStatus is the status that a reply of this error carries.
func (e *Error) HTTPStatus() int {
	if e.Status != 0 {
		return e.Status
	}
	if status, ok := statusOf[e.Code]; ok {
		return status
	}
	return statusOf[InternalError]
}

// Body is the JSON body of a reply of this error, of the shape
// {"error":{"code","message","details"},"request_id"}. The component is the layer
// that writes the reply, unless the error's details name another.
func (e *Error) Body(component Component, requestID string) []byte {
	details := make(map[string]any, len(e.Details)+1)
	details["component"] = component
	maps.Copy(details, e.Details)
	var body struct {
		Error struct {
			Code    Code           `json:"code"`
			Message string         `json:"message"`
			Details map[string]any `json:"details"`
		} `json:"error"`
		RequestID string `json:"request_id"`
	}
	body.Error.Code, body.Error.Message, body.Error.Details = e.Code, e.Message, details
	body.RequestID = requestID
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(body); err != nil {
		return (&Error{Code: e.Code, Message: e.Message}).Body(component, requestID)
	}
	return bytes.TrimRight(out.Bytes(), "\n")
}

// AsError finds the *Error in err's chain. Any other error becomes an
// INTERNAL_ERROR whose text the caller does not see.
func AsError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Code: InternalError, Message: "internal error; the log has it under the request's id", Err: err}
}

// StillBuilding says that a function's code was not ready to run within the given time. Hosts
// say so of calls, and control of registrations.
func StillBuilding(timeout time.Duration) *Error {
	ms := max(0, timeout).Round(time.Millisecond).Milliseconds()
	return &Error{
		Code:    Timeout,
		Message: fmt.Sprintf("the function's code is still being built after %d ms; that goes on, so send the same request again", ms),
		Details: map[string]any{"component": InRuntime, "timeout_ms": ms},
	}
}

// IsNotFound tells whether err is a NOT_FOUND.
func IsNotFound(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == NotFound
}
