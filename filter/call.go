package main

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"envoke/filter/host"
	"envoke/internal/faas"
)

// call is a request whose result may be kept, from its headers to the end of its
// response.
type call struct {
	stream uint32        // Envoy's number of the exchange; 0: this is none
	asked  bool          // by X-Cache-Control
	maxAge time.Duration // that the caller asked for

	// key is all that the result depends on: whether the caller asked, the head of the
	// call (faas.AppendCall) and, once it is there, the body. It is longer than maxKey only
	// until the request goes on.
	key  []byte
	head int // where in the key the body begins

	envelope bool   // the response says whether it was cached
	function string // that is called, by plain HTTP

	// Of the response, while its body is waited for.
	keep    time.Duration
	made    int64 // nanoseconds since 1970
	status  int
	headers host.Pairs
}

// calls are those under way, by the number of their exchange. A later one may take the
// place of one that never ends, or of one that is slow: that one is then not answered
// or kept here, and nothing has to be cleaned up.
var calls [1024]call

func find(stream uint32) *call {
	if c := &calls[stream%uint32(len(calls))]; c.stream == stream && stream != 0 {
		return c
	}
	return nil
}

// forget keeps the memory of the key.
func (c *call) forget() { *c = call{key: c.key[:0]} }

var (
	callerHeaders  = faas.CallerHeaders()
	namespaceIndex = slices.Index(callerHeaders, faas.NamespaceHeader)
)

// namespace is that of the caller.
func (h *head) namespace() string { return h.caller[namespaceIndex] }

// head is what a request's headers say that matters here.
type head struct {
	method, path, title string
	cacheControl        string
	length              string
	grpc                bool // Envoy makes gRPC of what it is answered here
	caller              [6]string
}

// read finds the headers in one pass. Texts are parts of the pairs.
func (h *head) read(pairs host.Pairs) {
	for c := pairs.Cursor(); c.Next(); {
		switch value := text(c.Value); string(c.Name) {
		case ":method":
			h.method = value
		case ":path":
			h.path = value
		case "language-title":
			if h.title == "" { // several are refused behind us
				h.title = value
			}
		case "x-cache-control":
			if h.cacheControl != "" { // ext_proc refuses several
				value = "," + value
			}
			h.cacheControl += value
		case "content-length":
			h.length = value
		case "content-type":
			h.grpc = strings.HasPrefix(value, faas.GRPCContentType)
		default:
			h.addCaller(c.Name, value)
		}
	}
}

func (h *head) addCaller(name []byte, value string) {
	for i := range callerHeaders {
		if string(name) != callerHeaders[i] {
			continue
		}
		if h.caller[i] != "" {
			h.caller[i] += ","
		}
		h.caller[i] += value
	}
}

// mayBeKept tells whether the request is one whose result its route lets be kept. It
// fills in what is known of the call.
func (h *head) mayBeKept(c *call, last bool) bool {
	post := strings.HasPrefix(h.path, executePath+"/") || strings.HasPrefix(h.path, runtimePath)
	get := strings.HasPrefix(h.path, functionPath) && h.method == "GET" && last
	if !post && !get || h.grpc {
		return false
	}
	if h.length != "" { // an error is an allocation
		if n, err := strconv.Atoi(h.length); err == nil && n > faas.MaxCachedBody {
			return false
		}
	}
	if h.cacheControl != "" {
		seconds, ok := strings.CutPrefix(h.cacheControl, "max-age=")
		n, err := strconv.ParseUint(seconds, 10, 30)
		if !ok || err != nil || n == 0 { // no-cache, or what ext_proc refuses
			return false
		}
		c.asked, c.maxAge = true, time.Duration(n)*time.Second
	}
	c.envelope = post
	// What a caller asked for is for those who ask.
	c.key = append(c.key[:0], 'f')
	if c.asked {
		c.key[0] = 'a'
	}
	c.key = faas.AppendCall(c.key, h.method, h.path, h.caller[:])
	c.head = len(c.key)
	return true
}
