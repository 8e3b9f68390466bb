package hook

import (
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"github.com/go-json-experiment/json/jsontext"

	"envoke/internal/faas"
	"envoke/runtimes/host"
)

// params are what the function gets, as JSON. Bytes of headers that are not UTF-8 are U+FFFD
// in it.
func (x exchange) params() []byte {
	b := make([]byte, 0, 2<<10)
	b = append(append(append(b, `{"phase":"`...), x.phase...), '"')
	if x.phase == faas.RequestPhase {
		b = appendMember(b, "method", x.pseudo.method)
		b = appendMember(b, "path", faas.MaskKeySecrets(x.pseudo.path))
		b = appendMember(b, "host", x.pseudo.authority)
		b = appendMember(b, "scheme", x.pseudo.scheme)
	} else {
		b = append(append(b, `,"status":`...), statusOf(x.pseudo.status)...)
	}
	b = append(b, `,"headers":`...)
	b = appendHeaders(b, x.headers)
	return append(appendMember(b, "route", x.route), '}')
}

// statusOf is a status as a number. Envoy says three digits.
func statusOf(text string) string {
	if len(text) != 3 || strings.Trim(text, "0123456789") != "" {
		return "0"
	}
	return text
}

func appendMember(b []byte, name, value string) []byte {
	b = append(append(append(b, `,"`...), name...), `":`...)
	return appendText(b, value)
}

// appendText appends JSON of a text. The error tells of what is not UTF-8, which is replaced.
func appendText(b []byte, text string) []byte {
	b, _ = jsontext.AppendQuote(b, text)
	return b
}

// appendHeaders appends an object of the headers that functions may see, in the order in which
// they came. A name that came several times is there once.
func appendHeaders(b []byte, headers []*corev3.HeaderValue) []byte {
	b = append(b, '{')
	first := true
	for i, h := range headers {
		name := h.GetKey()
		if hidden(h) || has(headers[:i], name) {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(appendText(b, name), ':')
		b = appendValue(b, name, headers[i:])
	}
	return append(b, '}')
}

// has looks through a list of a hundred headers at most.
func has(headers []*corev3.HeaderValue, name string) bool {
	for _, h := range headers {
		if h.GetKey() == name {
			return true
		}
	}
	return false
}

// appendValue appends what the headers of that name say: joined as RFC 9110 (5.3) joins them,
// and RFC 9113 (8.2.3) cookies. Only of Set-Cookie it is a list, since it cannot be joined.
func appendValue(b []byte, name string, headers []*corev3.HeaderValue) []byte {
	if name == "set-cookie" {
		b = append(b, '[')
		for i, h := range ofName(headers, name) {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendText(b, shown(h))
		}
		return append(b, ']')
	}
	if !has(headers[1:], name) {
		return appendText(b, shown(headers[0]))
	}
	var values []string
	for _, h := range ofName(headers, name) {
		values = append(values, shown(h))
	}
	between := ", "
	if name == "cookie" {
		between = "; "
	}
	return appendText(b, strings.Join(values, between))
}

func ofName(headers []*corev3.HeaderValue, name string) (all []*corev3.HeaderValue) {
	for _, h := range headers {
		if h.GetKey() == name {
			all = append(all, h)
		}
	}
	return all
}

// hidden tells what functions do not see: what is Envoy's and ours.
func hidden(h *corev3.HeaderValue) bool {
	name := h.GetKey()
	return strings.HasPrefix(name, ":") || host.InternalHeader(name)
}

// shown is a header's value without the secret of a key of ours, by which whoever has it could
// call. Other credentials are what guards are for.
func shown(h *corev3.HeaderValue) string { return faas.MaskKeySecrets(textOf(h)) }
