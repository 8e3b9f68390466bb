package faas

import "time"

// RouteHeader names the declared route by which a request came, to hosts. Envoy strips it from
// what callers send.
const RouteHeader = "x-envoke-route"

// Phase is when a hook is asked.
type Phase string

// Phases.
const (
	RequestPhase  Phase = "request"
	ResponsePhase Phase = "response"
)

// MaxHookDeadline is the longest that a hook may take.
const MaxHookDeadline = 10 * time.Second

// What Envoy tells a host of a hook that it asks for, as metadata of the stream. Callers have
// no part in any of it.
const (
	HookFunction = "x-envoke-function"     // the function, as Ref.Key has it
	HookRoute    = RouteHeader             // the route's name, escaped as a part of a path
	HookPhase    = "x-envoke-phase"        // a Phase
	HookDeadline = "x-envoke-deadline"     // in microseconds, from the stream's beginning
	HookFailure  = "x-envoke-failure-mode" // HookOpen, or anything else: closed
	HookChecked  = CheckedHeader           // there where callers are checked, so that UserHeader says who calls
)

// HookOpen has requests go on whose hook does not answer.
const HookOpen = "open"

// HookAnswer marks a hook's answer in Envoy's access log, and for its local_reply_config, which
// must not rewrite it.
const HookAnswer = "envoke_hook"

// Attributes of a request that Envoy tells with its response.
const (
	HookRequestID = "request.id"
	HookUser      = "request.headers['" + UserHeader + "']"
)
