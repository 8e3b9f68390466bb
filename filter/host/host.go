// Package host is Envoy as its proxy-wasm ABI shows it to a filter: what may be asked
// of it and told to it. What Envoy calls in turn are the functions marked go:wasmexport,
// here and in the filter. Envoy calls none that is not exported, and each that is costs
// every request, so export only what is needed.
//
// A []byte that a function returns lies in memory that is used again: it is valid until
// the callback returns. Copy what must live longer. What a function is given is copied.
// Reading allocates nothing on Go's heap as long as a callback reads less than 64 KiB.
//
// Each answer costs Envoy a call back for memory, so all headers at once are cheaper
// than two one by one.
//
// Built for another machine than Wasm, a Fake answers in place of Envoy.
package host

import (
	"strings"
	"time"
)

// Action is what a callback wants Envoy to do with its request or response.
type Action uint32

// Continue hands it on. Pause keeps it; in a callback of a body, what came so far is
// buffered and the next callback sees it too.
const (
	Continue Action = 0
	Pause    Action = 1
)

// abiVersion is not called: Envoy looks for its name. With this version, a change of
// the request's headers lets Envoy select the route anew.
//
//go:wasmexport proxy_abi_version_0_2_1
func abiVersion() {} //nolint:unused // Envoy's

// status is how a call went; it is not OK where there is nothing to answer.
type status uint32

const ok status = 0

// Level is the weight of a line in Envoy's log.
type Level uint32

// The levels, as Envoy numbers them.
const (
	Debug Level = 1 + iota
	Info
	Warn
	Error
)

// Log writes a line to Envoy's log.
func Log(level Level, line string) { proxyLog(level, line) }

// Now is the time of Envoy's clock. It is cheaper than time.Now.
func Now() time.Time {
	proxyGetCurrentTimeNanoseconds(&where.nanoseconds)
	return time.Unix(0, int64(where.nanoseconds))
}

// Config is the filter's configuration, while Envoy calls proxy_on_configure.
func Config() []byte { return readBuffer(pluginConfiguration, 0, 1<<20) }

// Respond answers the request from here. Return Pause after it: Envoy sends it when
// the callback has returned. Details are what access logs show as
// %RESPONSE_CODE_DETAILS%.
func Respond(httpStatus int, details string, headers Pairs, body []byte) bool {
	const notGRPC = -1
	return proxySendLocalResponse(uint32(httpStatus), details, text(body), text(headers), notGRPC) == ok
}

// SharedData reads what filters of all Envoy's threads share under a key; nil: there is
// nothing. The version is for SetSharedData.
func SharedData(key []byte) (value []byte, version uint32) {
	s := proxyGetSharedData(text(key), &where.address, &where.size, &where.version)
	return answer(s), where.version
}

// SetSharedData writes what all threads share. It does not where the version is neither
// 0 nor the current one. Nothing is ever deleted: an empty value is what comes nearest.
func SetSharedData(key, value []byte, version uint32) bool {
	return proxySetSharedData(text(key), text(value), version) == ok
}

// Property reads an attribute of the request, of its connection or of Envoy, by the
// path that Envoy's documentation calls an attribute: "source", "address".
func Property(path ...string) []byte {
	s := proxyGetProperty(strings.Join(path, "\x00"), &where.address, &where.size)
	return answer(s)
}

// SetProperty sets one that later filters and access logs see as the filter state
// "wasm.<name>".
func SetProperty(name string, value []byte) bool {
	return proxySetProperty(name, text(value)) == ok
}

// Counter is a counter among Envoy's own metrics.
type Counter uint32

// NewCounter returns the counter wasmcustom.<name>, the same whenever it is asked.
func NewCounter(name string) Counter { return Counter(metric(0, name)) }

// Gauge is a value among Envoy's own metrics. All threads set the same.
type Gauge uint32

// NewGauge returns the gauge wasmcustom.<name>, the same whenever it is asked.
func NewGauge(name string) Gauge { return Gauge(metric(1, name)) }

// Set sets it.
func (g Gauge) Set(value uint64) { proxyRecordMetric(g, value) }

func metric(kind uint32, name string) uint32 {
	proxyDefineMetric(kind, name, &where.metric)
	return where.metric
}

// Add adds to it.
func (c Counter) Add(n int64) { proxyIncrementMetric(c, n) }
