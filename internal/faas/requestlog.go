package faas

import "time"

// Operation names an operation of the API in logs, metrics and route names.
type Operation string

// The operations.
const (
	Initialize     Operation = "initialize"
	Execute        Operation = "execute"
	OneShot        Operation = "oneshot"
	Invoke         Operation = "invoke"     // a registered function by its path
	InvokeHTTP     Operation = "invokehttp" // the same, as plain HTTP
	SessionRead    Operation = "session"
	FunctionRead   Operation = "function"
	FunctionWrite  Operation = "functionwrite"
	KeyWrite       Operation = "key"    // reads them too
	SecretWrite    Operation = "secret" // lists, sets and deletes
	AuditRead      Operation = "audit"
	ConfigWrite    Operation = "config" // reads it too
	Health         Operation = "health"
	Document       Operation = "document" // of the API, in OpenAPI
	OtherOperation Operation = "other"
	// Proxied are requests of a declared route to an upstream. They are counted, and have no
	// rows: what was there before Envoke has logs of its own.
	Proxied Operation = "upstream"
)

// RequestLog is one row per request that Envoy answered.
type RequestLog struct {
	ID            int64 // where it stands in the store, from 1; 0: not stored yet
	RequestID     string
	Operation     Operation
	SessionID     SessionID // empty where the request had none
	LanguageTitle string    // as the caller sent it; read again, else the session's
	Method        string
	Path          string
	StatusCode    int
	Duration      time.Duration
	StartedAt     time.Time
	ClientIP      string
	Namespace     Namespace
	UserID        string
	BytesIn       int64
	BytesOut      int64
	Cached        bool
	ErrorDetails  string // Envoy's response code details and flags; never shown to callers
}

// Executed tells whether the request ran a session's function, however that
// ended: these are the executes that execution_count counts.
func (r RequestLog) Executed() bool {
	if r.SessionID == "" || r.Operation != Execute && r.Operation != OneShot {
		return false
	}
	switch r.StatusCode {
	case 200, 500, 504, 507:
		return true
	}
	return false
}

// RequestLogQuery selects rows of requests. Empty fields select all.
type RequestLogQuery struct {
	RequestID     string
	SessionID     SessionID
	LanguageTitle string
	StatusCode    int
	After         int64 // an ID: only rows stored later
	Limit         int   // from 1
}
