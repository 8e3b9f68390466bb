// Package fault makes the errors that callers are told by whatever runs functions,
// so that the same fate reads the same in every language.
package fault

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"envoke/internal/faas"
)

// The limits of what a caller sees of a function's own words.
const (
	MaxMessage = 8 << 10  // bytes
	MaxStack   = 32 << 10 // bytes of a stack trace
)

// Stopping is the answer while a host ends. It is shared: who gets it must not
// change it.
var Stopping = Unavailable("the runtime host is stopping")

// Unavailable says that the function was not run, for no fault of its own.
func Unavailable(message string) *faas.Error {
	return &faas.Error{
		Code:    faas.Unavailable,
		Message: message,
		Details: map[string]any{"component": faas.InRuntime},
	}
}

// Busy asks for another try; the HTTP layer makes a header of the detail.
func Busy(message string) *faas.Error {
	return &faas.Error{
		Code:    faas.RateLimited,
		Message: message,
		Details: map[string]any{"component": faas.InRuntime, "retry_after_seconds": 1},
	}
}

// Overloaded says that more calls of a function come than it can serve. It is shared: who
// gets it must not change it.
var Overloaded = Busy("too many calls of this function are waiting")

// GoneAway is for the log: nobody reads the reply.
func GoneAway(ctx context.Context) *faas.Error {
	e := Unavailable("the caller went away")
	e.Err = context.Cause(ctx)
	return e
}

// Timeout says that the function did not answer within the given time.
func Timeout(timeout time.Duration) *faas.Error {
	ms := max(0, timeout).Round(time.Millisecond).Milliseconds()
	return &faas.Error{
		Code:    faas.Timeout,
		Message: fmt.Sprintf("the function did not answer within %d ms", ms),
		Details: map[string]any{"component": faas.InFunction, "timeout_ms": ms},
	}
}

// StreamTimeout says that a stream was not over within the given time.
func StreamTimeout(timeout time.Duration) *faas.Error {
	ms := timeout.Milliseconds()
	return &faas.Error{
		Code:    faas.Timeout,
		Message: fmt.Sprintf("the stream was not over within %d ms", ms),
		Details: map[string]any{"component": faas.InFunction, "limit": "stream", "timeout_ms": ms},
	}
}

// LoadTimeout says that code took longer than the limit to load.
func LoadTimeout(limit time.Duration) *faas.Error {
	return &faas.Error{
		Code:    faas.InitializationError,
		Message: fmt.Sprintf("the code did not load within %d ms: it loops or waits at its top level, or the machine is too busy", limit.Milliseconds()),
		Details: map[string]any{"component": faas.InFunction, "timeout_ms": limit.Milliseconds()},
	}
}

// OutOfMemory says that the function wanted more memory than it may have, which is so
// many MiB; 0: as much as there is.
func OutOfMemory(limitMB int) *faas.Error {
	e := &faas.Error{
		Code:    faas.ResourceExhausted,
		Message: "the function ran out of memory",
		Details: map[string]any{"component": faas.InFunction, "limit": "memory"},
	}
	if limitMB > 0 {
		e.Message += fmt.Sprintf(": its limit is %d MiB", limitMB)
		e.Details["limit_mb"] = limitMB
	}
	return e
}

// Concurrency says that a function has as many calls under way as it may, and too many that
// wait.
func Concurrency(limit int) *faas.Error {
	e := Busy(fmt.Sprintf("the function may have %d calls at once, and too many are waiting", limit))
	e.Details["component"], e.Details["limit"], e.Details["allowed"] = faas.InFunction, "concurrency", limit
	return e
}

// Rate says that a function has had the calls that it may have in a minute, and when the next
// may come.
func Rate(perMinute int, wait time.Duration) *faas.Error {
	e := Busy(fmt.Sprintf("the function may be called %d times a minute by all callers together; it was not run, and Retry-After says when the next call may come", perMinute))
	e.Details["limit"], e.Details["allowed"] = "rate", perMinute
	e.Details["retry_after_seconds"] = max(1, int(math.Ceil(wait.Seconds())))
	return e
}

// CPU says that a call took more CPU time than it may.
func CPU(allowed, taken time.Duration) *faas.Error {
	may, took := allowed.Milliseconds(), taken.Milliseconds()
	return &faas.Error{
		Code:    faas.ResourceExhausted,
		Message: fmt.Sprintf("the function was ended: it may take %d ms of CPU time and took %d", may, took),
		Details: map[string]any{"component": faas.InFunction, "limit": "cpu", "allowed_ms": may, "taken_ms": took},
	}
}

// Exceeded says that the function's worker took more of something than it may, and was
// ended for it.
func Exceeded(limit string, allowed, taken int64) *faas.Error {
	return &faas.Error{
		Code:    faas.ResourceExhausted,
		Message: fmt.Sprintf("the function's worker was ended: it may have %d of %s and had %d", allowed, limit, taken),
		Details: map[string]any{"component": faas.InFunction, "limit": limit, "allowed": allowed, "taken": taken},
	}
}

// OutputOf is Output of a result whose size is known.
func OutputOf(limit, taken int) *faas.Error {
	e := Output(limit)
	e.Message = fmt.Sprintf("the result has %d bytes of JSON; it may have %d", taken, limit)
	e.Details["taken_bytes"] = taken
	return e
}

// Output says that a result is larger than limit bytes of JSON.
func Output(limit int) *faas.Error {
	return &faas.Error{
		Code:    faas.ResourceExhausted,
		Message: fmt.Sprintf("the result is larger than %d bytes of JSON", limit),
		Details: map[string]any{"component": faas.InFunction, "limit": "output", "limit_bytes": limit},
	}
}

// Context says that what a function left in its context is larger than limit bytes of JSON.
func Context(limit int) *faas.Error {
	return &faas.Error{
		Code:    faas.ResourceExhausted,
		Message: fmt.Sprintf("what the function left in its context is larger than %d bytes of JSON; it has run, and the session's context is as it was before", limit),
		Details: map[string]any{"component": faas.InFunction, "limit": "context", "limit_bytes": limit},
	}
}

// Cut shortens what a function said to limit bytes of UTF-8.
func Cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}
