package faas

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// What is kept of a failure, in bytes.
const (
	MaxFailureMessage = 8 << 10
	MaxFailureStack   = 16 << 10
	MaxFailureDetails = 16 << 10
)

// Failure is why one request failed, as who answered it knows: a row of error_logs.
type Failure struct {
	RequestID     string
	SessionID     SessionID // empty where the request had none, or nobody knows
	LanguageTitle string    // of its function, where that is known
	Language      Language
	Component     Component // the layer that failed
	Code          Code
	Message       string
	StackTrace    string          // of the user's code; empty: there is none
	Details       json.RawMessage // the rest of the error's details, a JSON object, or nil
	At            time.Time       // UTC, to the microsecond
}

// NewFailure is the failure of a request that is answered by an error. The component is the
// layer that answers, unless the error names another. What is too long is cut.
func NewFailure(requestID string, component Component, e *Error) Failure {
	f := Failure{
		RequestID: requestID, Component: component, Code: e.Code, Message: CutText(e.Message, MaxFailureMessage),
		At: time.Now().UTC().Truncate(time.Microsecond),
	}
	details := make(map[string]any, len(e.Details))
	for key, value := range e.Details {
		switch key {
		case "component":
			f.Component = Component(fmt.Sprint(value))
		case "stack_trace":
			f.StackTrace = CutText(fmt.Sprint(value), MaxFailureStack)
		default:
			details[key] = value
		}
	}
	if len(details) > 0 {
		if raw, err := json.Marshal(details); err == nil && len(raw) <= MaxFailureDetails {
			f.Details = raw
		}
	}
	return f
}

// Masked is the failure without the secrets of API keys that callers put into what it tells.
func (f Failure) Masked() Failure {
	for _, text := range []*string{&f.RequestID, &f.LanguageTitle, &f.Message, &f.StackTrace} {
		*text = MaskKeySecrets(*text)
	}
	if f.Details != nil {
		f.Details = json.RawMessage(MaskKeySecrets(string(f.Details)))
	}
	return f
}

// Exchange is what one request and its answer held, for those who debug functions: the four
// last columns of request_logs.
type Exchange struct {
	RequestID string
	StartedAt time.Time       // as Envoy's access log has it: with RequestID it tells the row
	Headers   json.RawMessage // of the request: a JSON object of strings; nil: they are not known
	Request   string          // the params
	Response  string          // the result, or the error
	Metrics   json.RawMessage // a JSON object: execution_time_ms, queue_ms, memory_usage_bytes
}

// Sample is what a metric of one runtime host said: a row of runtime_metrics.
type Sample struct {
	At       time.Time // UTC, to the microsecond
	Language Language
	Host     string // unique among the hosts of an installation
	Metric   string // as /metrics names it, with its labels but the language
	Value    float64
}

// CacheSample is what a cache did since the one before: a row of cache_metrics.
type CacheSample struct {
	At             time.Time // UTC, to the microsecond
	Cache          string    // which one
	Host           string    // whose
	Hits, Misses   int64     // since the sample before
	Entries, Bytes int64     // now; 0 where nobody knows
}

// Records are what hosts and controls tell beside Envoy's access log.
type Records struct {
	Failures  []Failure
	Exchanges []Exchange
	Samples   []Sample
	Caches    []CacheSample
}

// Len is how many there are.
func (r *Records) Len() int {
	return len(r.Failures) + len(r.Exchanges) + len(r.Samples) + len(r.Caches)
}

// CutText is a text's beginning of at most so many bytes, in UTF-8, and says so where that is
// not all.
func CutText(text string, most int) string {
	if len(text) <= most {
		return strings.ToValidUTF8(text, "\uFFFD")
	}
	mark := fmt.Sprintf("… [cut: it has %d bytes]", len(text))
	return strings.ToValidUTF8(text[:max(0, most-len(mark))], "") + mark
}
