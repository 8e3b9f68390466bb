package main

import (
	"encoding/hex"
	"runtime"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"envoke/filter/host"
	"envoke/internal/faas"
)

// slots is how many results are kept, each where the hash of its key says: what is kept never
// goes, but is written over.
var slots = 1024

// served are the languages that errors offer; nil: those that every installation has.
var served faas.Served

// onConfigure reads how many slots there are, and the languages: "1024 nodejs python".
//
//go:wasmexport proxy_on_configure
func onConfigure(_, _ uint32) (loads bool) {
	loads = true
	defer survive(0)
	host.Begin()
	panics = host.NewCounter("envoke_filter_panics")
	count, names, _ := strings.Cut(string(host.Config()), " ")
	if n, err := strconv.Atoi(count); err == nil && n > 0 {
		slots = n
	}
	served = nil
	for name := range strings.FieldsSeq(names) {
		served = append(served, faas.Language(name))
	}
	heap = host.NewGauge("envoke_filter_heap_bytes")
	return loads
}

// heap is what Go has taken of the VM's memory, told every so many requests.
var (
	heap     host.Gauge
	requests uint
)

const requestsPerReport = 1 << 14

func report() {
	if requests++; requests%requestsPerReport == 0 {
		var memory runtime.MemStats
		runtime.ReadMemStats(&memory)
		heap.Set(memory.HeapSys)
	}
}

// onRequestHeaders answers a request whose result is kept, and refuses a malformed name.
//
//go:wasmexport proxy_on_request_headers
func onRequestHeaders(stream, _ uint32, last bool) host.Action {
	defer survive(stream)
	host.Begin()
	report()
	var h head
	h.read(host.Request.Headers())
	c := &calls[stream%uint32(len(calls))]
	c.forget()
	kept := h.mayBeKept(c, last)
	if kept && last && c.answered(nil) {
		return host.Pause
	}
	if err := check(h.method, h.path, h.title); err != nil { // what is kept has none such
		return refuse(faas.AsError(err))
	}
	switch {
	case !kept:
		return host.Continue
	case !last:
		c.stream = stream
		return host.Pause // for the body
	case c.goesPast(h.namespace(), h.path):
		host.Request.SetHeader(uncachedHeader, []byte("1"))
	default:
		c.stream = stream
		c.goOn()
	}
	return host.Continue
}

// onRequestBody answers a request whose body is part of the question.
//
//go:wasmexport proxy_on_request_body
func onRequestBody(stream, size uint32, last bool) host.Action {
	defer survive(stream)
	c := find(stream)
	switch {
	case c == nil:
		return host.Continue
	case size > faas.MaxCachedBody:
		host.Begin()
		c.forget()
		host.Request.SetHeader(callKeyHeader, []byte("none")) // ext_proc need not ask for it
		return host.Continue
	case !last:
		return host.Pause
	}
	host.Begin()
	if c.answered(host.Request.Body(faas.MaxCachedBody)) {
		c.forget()
		return host.Pause
	}
	c.goOn()
	return host.Continue
}

// What the filter and ext_proc tell each other.
const (
	callKeyHeader = "x-envoke-key"  // the digest of the call
	keepHeader    = "x-envoke-keep" // for how many milliseconds the response may be given, and its age
)

// answered answers the call with what is kept, if there is anything.
func (c *call) answered(body []byte) bool {
	if c.key = append(c.key, body...); len(c.key) > maxKey {
		return false
	}
	raw, _ := host.SharedData(slotOf(c.key))
	var kept entry
	now := host.Now().UnixNano()
	if !kept.parse(raw) || !kept.answers(c, now) {
		return false
	}
	age := strconv.FormatInt((now-kept.made)/int64(time.Second), 10)
	return host.Respond(kept.status, "envoke_filter", kept.headers.With("age", age), kept.body)
}

// goOn lets the request go on with its digest, by which ext_proc knows it.
func (c *call) goOn() {
	digest := faas.DigestCall(c.key[1:c.head], c.key[c.head:])
	var key [2 * len(digest)]byte
	hex.Encode(key[:], digest[:])
	host.Request.SetHeader(callKeyHeader, key[:])
	if len(c.key) > maxKey {
		c.key = nil // such memory is not kept, nor is the response
	}
}

// onResponseHeaders begins to keep a response that ext_proc says may be kept.
//
//go:wasmexport proxy_on_response_headers
func onResponseHeaders(stream, _ uint32, last bool) host.Action {
	defer survive(stream)
	c := find(stream)
	if c == nil {
		return host.Continue
	}
	host.Begin()
	keep, age, ok := parseKeep(host.Response.Header(keepHeader))
	if !ok { // it is not there
		c.learn()
		c.forget()
		return host.Continue
	}
	host.Response.RemoveHeader(keepHeader)
	if len(c.key) == 0 {
		c.forget()
		return host.Continue
	}
	c.readResponse(host.Response.Headers(), age)
	if c.keep = min(keep, maxKept); c.keep <= 0 {
		c.forget()
	} else if last {
		c.store(nil)
	}
	return host.Continue
}

// onResponseBody keeps the response once all of it is there.
//
//go:wasmexport proxy_on_response_body
func onResponseBody(stream, size uint32, last bool) host.Action {
	defer survive(stream)
	c := find(stream)
	switch {
	case c == nil:
		return host.Continue
	case size > maxEntry:
		c.forget()
		return host.Continue
	case !last:
		return host.Pause
	}
	host.Begin()
	c.store(host.Response.Body(maxEntry))
	return host.Continue
}

// refuse answers the request here. Envoy adds the request's id to the headers.
func refuse(e *faas.Error) host.Action {
	contentType := host.NewPairs("content-type", "application/json")
	requestID := string(host.Request.Header("x-request-id"))
	if !host.Respond(e.HTTPStatus(), "envoke", contentType, e.Body(faas.InEnvoy, requestID)) {
		host.Log(host.Error, "a refused request was not answered, so it is refused behind us")
		return host.Continue
	}
	return host.Pause
}

// text is the text of bytes that are valid as long.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) } //nolint:gosec // as long as they are
