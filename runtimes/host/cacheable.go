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
// HTTP: no error, nothing that is one caller's, and nothing that the function itself
// does not want kept.
func markResponse(c *fasthttp.RequestCtx) {
	switch c.Response.StatusCode() {
	case http.StatusOK, http.StatusNonAuthoritativeInfo, http.StatusNoContent,
		http.StatusMovedPermanently, http.StatusPermanentRedirect:
	default:
		return
	}
	var pairs [][2]string
	for key, value := range c.Response.Header.All() {
		switch name := strings.ToLower(string(key)); name {
		case "set-cookie", "vary":
			return
		case "connection", "content-length", "transfer-encoding", "date", "server", "age", "server-timing":
			// of this exchange
		default:
			if name == "cache-control" && isPrivate(value) {
				return
			}
			pairs = append(pairs, [2]string{name, string(value)})
		}
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
