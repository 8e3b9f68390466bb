package faas

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestErrorBody(t *testing.T) {
	tests := []struct {
		name string
		err  *Error
		want string
	}{
		{
			name: "plain",
			err:  &Error{Code: NotFound, Message: "no such session"},
			want: `{"error":{"code":"NOT_FOUND","message":"no such session","details":{"component":"extproc"}},"request_id":"r-1"}`,
		},
		{
			name: "details",
			err:  &Error{Code: RuntimeError, Message: "boom", Details: map[string]any{"line": 3, "type": "TypeError"}},
			want: `{"error":{"code":"RUNTIME_ERROR","message":"boom","details":{"component":"extproc","line":3,"type":"TypeError"}},"request_id":"r-1"}`,
		},
		{
			name: "details name the component",
			err:  &Error{Code: RuntimeError, Message: "boom", Details: map[string]any{"component": InFunction}},
			want: `{"error":{"code":"RUNTIME_ERROR","message":"boom","details":{"component":"function"}},"request_id":"r-1"}`,
		},
		{
			name: "the cause stays inside",
			err:  &Error{Code: Unavailable, Message: "try again", Err: errors.New("open /var/lib/envoke.db: locked")},
			want: `{"error":{"code":"UNAVAILABLE","message":"try again","details":{"component":"extproc"}},"request_id":"r-1"}`,
		},
		{
			name: "markup and quotes",
			err:  &Error{Code: InvalidParams, Message: `a < b && "c"`},
			want: `{"error":{"code":"INVALID_PARAMS","message":"a < b && \"c\"","details":{"component":"extproc"}},"request_id":"r-1"}`,
		},
		{
			name: "a message that is no UTF-8",
			err:  &Error{Code: InvalidParams, Message: "\xff"},
			want: `{"error":{"code":"INVALID_PARAMS","message":"\ufffd","details":{"component":"extproc"}},"request_id":"r-1"}`,
		},
		{
			name: "details that are no JSON are left out",
			err:  &Error{Code: RuntimeError, Message: "boom", Details: map[string]any{"value": math.NaN()}},
			want: `{"error":{"code":"RUNTIME_ERROR","message":"boom","details":{"component":"extproc"}},"request_id":"r-1"}`,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := test.err.Body(InExtProc, "r-1")
			if diff := cmp.Diff(test.want, string(got)); diff != "" {
				t.Errorf("Body (-want +got):\n%s", diff)
			}
			if !json.Valid(got) {
				t.Error("Body is no JSON")
			}
		})
	}
}

func TestErrorBodyLeavesDetailsAlone(t *testing.T) {
	err := &Error{Code: RuntimeError, Details: map[string]any{"line": 1}}
	err.Body(InRuntime, "r-1")
	if diff := cmp.Diff(map[string]any{"line": 1}, err.Details); diff != "" {
		t.Errorf("Body changed Details, which several replies may share (-want +got):\n%s", diff)
	}
}

func TestErrorHTTPStatus(t *testing.T) {
	want := map[Code]int{
		InvalidRequest: 400, InvalidParams: 400, InitializationError: 422, Unauthorized: 401, Forbidden: 403,
		NotFound: 404, Conflict: 409, PayloadTooLarge: 413, RateLimited: 429, RuntimeError: 500,
		Timeout: 504, ResourceExhausted: 507, Unavailable: 503, InternalError: 500, "OF_TOMORROW": 500,
	}
	for code, status := range want {
		if got := (&Error{Code: code}).HTTPStatus(); got != status {
			t.Errorf("%s: status %d, want %d", code, got, status)
		}
	}
	if len(want) != len(statusOf)+1 {
		t.Errorf("%d codes have a status, %d are tested here", len(statusOf), len(want)-1)
	}
	notAllowed := &Error{Code: InvalidRequest, Status: http.StatusMethodNotAllowed}
	if got := notAllowed.HTTPStatus(); got != http.StatusMethodNotAllowed {
		t.Errorf("Status does not override the code's: %d", got)
	}
}

func TestAsError(t *testing.T) {
	known := &Error{Code: Conflict, Message: "the name is taken"}
	if got := AsError(fmt.Errorf("create function: %w", known)); got != known {
		t.Errorf("AsError of a wrapped *Error = %v", got)
	}
	got := AsError(io.ErrUnexpectedEOF)
	if got.Code != InternalError || !errors.Is(got, io.ErrUnexpectedEOF) {
		t.Errorf("AsError of another error = %v", got)
	}
	if want := "INTERNAL_ERROR: internal error; the log has it under the request's id: unexpected EOF"; got.Error() != want {
		t.Errorf("Error() = %q, want %q", got, want)
	}
}

func TestIsNotFound(t *testing.T) {
	tests := []struct {
		name string
		err  error
		want bool
	}{
		{"nil", nil, false},
		{"the sentinel, wrapped", fmt.Errorf("find session: %w", ErrNoSession), true},
		{"another code", &Error{Code: Conflict}, false},
		{"another error", io.EOF, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := IsNotFound(test.err); got != test.want {
				t.Errorf("IsNotFound(%v) = %t", test.err, got)
			}
		})
	}
}
