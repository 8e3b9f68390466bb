package accesslog

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"envoke/internal/faas"
)

// line is one line of the log, as the xds package has Envoy write it. What a
// request does not have is null, or "-".
type line struct {
	Start         number `json:"start"` // Unix seconds with a fraction
	RequestID     string `json:"request_id"`
	Route         string `json:"route"`
	Session       string `json:"session"`
	LanguageTitle string `json:"language_title"`
	Function      string `json:"function"`
	Method        string `json:"method"`
	Path          string `json:"path"`
	Status        number `json:"status"`
	DurationUS    number `json:"duration_us"`
	ClientIP      string `json:"client_ip"`
	UserID        string `json:"user_id"`
	Namespace     string `json:"namespace"`
	BytesIn       number `json:"bytes_in"`
	BytesOut      number `json:"bytes_out"`
	Details       string `json:"details"`
	Flags         string `json:"flags"`
}

// number is a number's JSON, which may be a text's.
type number string

// UnmarshalJSON takes whatever there is.
func (n *number) UnmarshalJSON(text []byte) error {
	*n = number(text)
	return nil
}

var errNoRequest = errors.New("the line has no start or status")

// parseLine reads one line, without its end. The row's texts are parts of it.
func parseLine(text string) (faas.RequestLog, error) {
	l, err := decode(text)
	if err != nil {
		return faas.RequestLog{}, fmt.Errorf("parse log line: %w", err)
	}
	started, err := l.started()
	if err != nil || l.Status == "" { // what was no HTTP has no method
		return faas.RequestLog{}, errors.Join(errNoRequest, err)
	}
	operation := operation(l.Route, known(l.Function))
	return faas.RequestLog{
		RequestID:     known(l.RequestID),
		Operation:     operation,
		SessionID:     session(l.Path, l.Session),
		LanguageTitle: titleOf(l.Route, known(l.Function), known(l.Path), known(l.LanguageTitle)),
		Method:        known(l.Method),
		Path:          faas.MaskKeySecrets(known(l.Path)),
		StatusCode:    int(min(integer(l.Status), 999)),
		Duration:      time.Duration(min(integer(l.DurationUS), math.MaxInt64/1000)) * time.Microsecond,
		StartedAt:     started,
		ClientIP:      known(l.ClientIP),
		UserID:        known(l.UserID),
		Namespace:     namespace(known(l.Namespace)),
		BytesIn:       integer(l.BytesIn),
		BytesOut:      integer(l.BytesOut),
		Cached:        cached(l.Details),
		ErrorDetails:  errorDetails(known(l.Details), known(l.Flags)),
	}, nil
}

func decode(text string) (line, error) {
	var l line
	if l.scan(text) {
		return l, nil
	}
	return decodeAny(text)
}

// decodeAny decodes whatever is JSON. A client may have sent bytes that are no UTF-8: they
// become U+FFFD.
func decodeAny(text string) (l line, err error) {
	err = json.Unmarshal([]byte(text), &l, jsontext.AllowInvalidUTF8(true))
	return l, err
}

// started is the exact microsecond: a float64 would not hold it for ever.
func (l *line) started() (time.Time, error) {
	seconds, fraction, _ := strings.Cut(unquote(l.Start), ".")
	s, err := strconv.ParseUint(seconds, 10, 33)
	if err != nil {
		return time.Time{}, err
	}
	us, err := strconv.ParseUint((fraction + "000000")[:6], 10, 32)
	if err != nil {
		return time.Time{}, err
	}
	return time.Unix(int64(s), int64(us)*1000).UTC(), nil
}

// declaredRoute begins the names of routes that operators declare.
const declaredRoute = "route/"

// operation is that of a route's name. A declared route may lead to a function, whose name is
// then known, and whose requests are invocations as those by its own path are.
func operation(route, function string) faas.Operation {
	if strings.HasPrefix(route, declaredRoute) {
		if function != "" {
			return faas.InvokeHTTP
		}
		return faas.Proxied
	}
	name, _, _ := strings.Cut(route, "-") // a language may follow
	if o := faas.Operation(name); o.Known() {
		return o
	}
	return faas.OtherOperation
}

// titleOf is the name of the function that is called, which a declared route says itself.
func titleOf(route, function, path, header string) string {
	if strings.HasPrefix(route, declaredRoute) {
		return languageTitle(faas.OtherOperation, path, function)
	}
	return languageTitle(operation(route, function), path, header)
}

// maxTitle bounds what a path may say of a function's name, in bytes.
const maxTitle = 256

// languageTitle is the name of the function that is called: what the path says, else
// the header.
func languageTitle(operation faas.Operation, path, header string) string {
	name := header
	switch operation {
	case faas.Invoke:
		name = strings.Replace(strings.TrimPrefix(path, "/runtime/"), "/", "-", 1)
	case faas.InvokeHTTP:
		name, _, _ = strings.Cut(strings.TrimPrefix(path, "/function/"), "/")
	}
	return faas.MaskKeySecrets(strings.ToValidUTF8(name[:min(len(name), maxTitle)], ""))
}

// session is the session's id: that in the path, which routed the request, else
// that which ext_proc gave it.
func session(path, header string) faas.SessionID {
	for _, id := range []faas.SessionID{faas.SessionID(path[strings.LastIndexByte(path, '/')+1:]), faas.SessionID(header)} {
		if _, ok := id.Language(); ok {
			return id
		}
	}
	return ""
}

// cached tells an answer that ext_proc or the filter had.
func cached(details string) bool { return details == "envoke_cache" || details == "envoke_filter" }

func errorDetails(details, flags string) string {
	if details == "via_upstream" || cached(details) { // no error of Envoy's
		details = ""
	}
	return strings.TrimSpace(details + " " + flags)
}

// filterFailed tells a request that Envoy gave up since the filter trapped, in this
// request or in another while this one was in the filter's hands.
func filterFailed(row *faas.RequestLog) bool {
	return strings.HasPrefix(row.ErrorDetails, "wasm_fail_stream")
}

// known is the text, or nothing where Envoy has none.
func known(text string) string {
	if text == "-" {
		return ""
	}
	return text
}

// namespace is what a token claimed and was let in with: what is none was refused, and is nobody's.
func namespace(text string) faas.Namespace {
	if n := faas.Namespace(text); n.Valid() {
		return n
	}
	return ""
}

func unquote(n number) string { return strings.Trim(string(n), `"`) }

// integer is a count, which is never negative; 0 where Envoy has none.
func integer(n number) int64 {
	i, err := strconv.ParseInt(unquote(n), 10, 64)
	if err != nil {
		return 0
	}
	return max(i, 0)
}
