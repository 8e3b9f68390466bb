package faas

import (
	"encoding/json"
	"strings"
	"time"
)

// SessionStatus is where a session stands.
type SessionStatus string

// The statuses of the wire contract.
const (
	Active    SessionStatus = "active"
	Expired   SessionStatus = "expired"
	Completed SessionStatus = "completed"
	Failed    SessionStatus = "error"
)

// CompileStatus is where the load or build of a session's code stands.
type CompileStatus string

// The compile statuses of the wire contract.
const (
	CompilePending CompileStatus = "pending"
	CompileSuccess CompileStatus = "success"
	CompileError   CompileStatus = "error"
)

// Build tells more of a session's CompileStatus: of one that is or was pending. A build that
// ends within its initialize leaves it empty.
type Build struct {
	Step  string          // what is under way while it is pending, such as "compiling"
	Since time.Time       // when that began
	Error json.RawMessage // {code, message, details} of a build that failed; else nil
}

// Session is the result of initialize: code and a context to execute it in.
type Session struct {
	ID             SessionID
	Name           Name
	Digest         Digest // of the script it runs
	Version        int    // of the registered function, 0 for a script of its own
	Owner          string // whose worker runs it
	UserID         string
	Context        json.RawMessage // an object, or nil
	Schema         json.RawMessage // of params, of the registered function's version; nil: anything
	Timeout        time.Duration   // of one execute; 0: the default of 30 s
	MemoryMB       int             // limit of its worker, in MiB; 0: the operator's
	Limits         Limits          // of its calls
	Network        Network         // that its worker has
	Environment    Environment     // of its worker, of a registered function's
	Retain         bool            // what the function leaves in its context is there in the next execute
	CompileStatus  CompileStatus
	Build          Build // more of CompileStatus
	CreatedAt      time.Time
	ExpiresAt      time.Time
	LastExecutedAt time.Time // zero: never
	ExecutionCount int64
	Status         SessionStatus // as stored; StatusAt takes the expiry into account
}

// FunctionOwner is whose function the session runs, and whose secrets that finds; empty:
// nobody's, or no registered one.
func (s Session) FunctionOwner() string {
	if owner, ok := strings.CutPrefix(s.Owner, functionOwner); ok {
		return owner
	}
	return ""
}

// Live tells whether the session may still be executed at the given time.
func (s Session) Live(now time.Time) bool { return now.Before(s.ExpiresAt) }

// StatusAt is the session's status at the given time.
func (s Session) StatusAt(now time.Time) SessionStatus {
	if s.Status == Active && !s.Live(now) {
		return Expired
	}
	return s.Status
}

// ErrNoSession is the answer to an id that is malformed, forged, unknown, deleted
// or expired: the caller is not told which.
var ErrNoSession = &Error{Code: NotFound, Message: "no such session: it never existed, has expired or was deleted; call initialize again"}
