package host

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/valyala/fasthttp"
)

// Headers by which ext_proc asks whether others may have a response, and by which it is
// told that they may. The second has all of the response's headers, of which ext_proc
// sees no other.
const (
	cacheHeader     = "X-Envoke-Cache"
	cacheableHeader = "X-Envoke-Cacheable"
)

// maxCacheable bounds the headers of a response that others may have, in bytes of JSON.
const maxCacheable = 8 << 10

// asked tells that the response may be cached.
func asked(c *fasthttp.RequestCtx) bool { return len(c.Request.Header.Peek(cacheHeader)) > 0 }

// markEnvelope tells ext_proc that others may have an envelope.
func markEnvelope(c *fasthttp.RequestCtx) {
	if asked(c) {
		c.Response.Header.Set(cacheableHeader, `[["content-type","application/json"]]`)
	}
}

// markResponse tells ext_proc that others may have what a function answered by plain
// HTTP: no error, nothing that is one caller's, nothing that the function itself does not
// want kept, and nothing that would not come out of a cache as it went in: Envoy leaves out
// headers without a value and says of a body without a type that it is text, Age is what
// caches say, and what Envoy adds to answers that have none it would add to these.
func markResponse(c *fasthttp.RequestCtx) {
	switch c.Response.StatusCode() {
	case http.StatusOK, http.StatusNonAuthoritativeInfo, http.StatusNoContent,
		http.StatusMovedPermanently, http.StatusPermanentRedirect:
	default:
		return
	}
	pairs, typed := [][2]string{}, len(c.Response.Body()) == 0
	for key, value := range c.Response.Header.All() {
		switch name := strings.ToLower(string(key)); name {
		case "set-cookie", "vary", "age", "strict-transport-security":
			return
		case "connection", "content-length", "transfer-encoding", "date", "server", "server-timing":
			// of this exchange
		case "x-content-type-options":
			if !bytes.EqualFold(value, []byte("nosniff")) { // which Envoy says of every answer
				return
			}
		default:
			if len(value) == 0 || name == "cache-control" && isPrivate(value) {
				return
			}
			typed = typed || name == "content-type"
			pairs = append(pairs, [2]string{name, string(value)})
		}
	}
	if !typed {
		return
	}
	slices.SortStableFunc(pairs, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
	if raw, err := json.Marshal(pairs); err == nil && len(raw) <= maxCacheable && isASCII(raw) {
		c.Response.Header.SetBytesV(cacheableHeader, raw)
	}
}

func isPrivate(cacheControl []byte) bool {
	lower := bytes.ToLower(cacheControl)
	return slices.ContainsFunc([]string{"no-store", "no-cache", "private"}, func(word string) bool {
		return bytes.Contains(lower, []byte(word))
	})
}

func isASCII(raw []byte) bool {
	return bytes.IndexFunc(raw, func(r rune) bool { return r >= 0x80 }) < 0
}
