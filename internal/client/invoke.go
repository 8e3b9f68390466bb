package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"envoke/internal/faas"
)

// Call is what a function is run with.
type Call struct {
	Params         json.RawMessage `json:"params,omitempty"`
	Context        json.RawMessage `json:"context,omitempty"`
	ScriptContent  string          `json:"script_content,omitempty"`
	CompileOptions json.RawMessage `json:"compile_options,omitempty"`

	Header http.Header `json:"-"` // more headers of the request
}

// Invocation is the envelope of a result.
type Invocation struct {
	Result           json.RawMessage `json:"result"`
	RequestID        *string         `json:"request_id"`
	LanguageTitle    string          `json:"language_title"`
	ExecutionTimeMS  float64         `json:"execution_time_ms"`
	MemoryUsageBytes *int64          `json:"memory_usage_bytes"`
	Cached           bool            `json:"cached"`
}

// Invoke runs a function, or the call's own script under that name, in one call.
func (c *Client) Invoke(ctx context.Context, name string, call Call) (Invocation, error) {
	return c.run(ctx, "/api/v1/execute", name, call)
}

// Execute runs a session's function.
func (c *Client) Execute(ctx context.Context, session string, call Call) (Invocation, error) {
	return c.run(ctx, "/api/v1/execute/"+url.PathEscape(session), "", call)
}

func (c *Client) run(ctx context.Context, path, name string, call Call) (Invocation, error) {
	return fetch[Invocation](ctx, c, request{method: http.MethodPost, path: path, header: titled(call.Header, name), body: call})
}

func titled(header http.Header, name string) http.Header {
	if header = header.Clone(); header == nil {
		header = http.Header{}
	}
	if name != "" {
		header.Set("Language-Title", name)
	}
	return header
}

// Session is what is known of a session.
type Session struct {
	RequestID      string              `json:"request_id"`
	LanguageTitle  string              `json:"language_title"`
	CreatedAt      time.Time           `json:"created_at"`
	ExpiresAt      time.Time           `json:"expires_at"`
	LastExecutedAt *time.Time          `json:"last_executed_at"`
	ExecutionCount int64               `json:"execution_count"`
	Status         faas.SessionStatus  `json:"status"`
	CompileStatus  *faas.CompileStatus `json:"compile_status"`
	CompileStep    *string             `json:"compile_step"`  // nil: nothing is pending
	CompileSince   *time.Time          `json:"compile_since"` // as CompileStep
	CompileError   json.RawMessage     `json:"compile_error"` // {code, message, details}, or null
}

// Session reads a session.
func (c *Client) Session(ctx context.Context, id string) (Session, error) {
	return fetch[Session](ctx, c, request{method: http.MethodGet, path: sessionPath(id)})
}

// DeleteSession ends a session everywhere.
func (c *Client) DeleteSession(ctx context.Context, id string) error {
	return c.do(ctx, request{method: http.MethodDelete, path: sessionPath(id)}, nil)
}

func sessionPath(id string) string { return "/api/v1/sessions/" + url.PathEscape(id) }
