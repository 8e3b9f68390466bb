package main

import (
	"runtime"
	"strconv"
	"strings"

	"envoke/filter/host"
)

// panics is a counter of Envoy's, from onConfigure on; seen is how many there were in
// this VM.
var (
	panics host.Counter
	seen   uint
)

// survive ends a panic of the callback that defers it, whose result is then the zero
// value of its type: the request goes on, and nothing of it is kept. What a Go program
// cannot survive (memory or stack used up) traps, and Envoy passes by this VM.
func survive(stream uint32) {
	cause := recover()
	if cause == nil {
		return
	}
	if c := find(stream); c != nil {
		c.forget()
	}
	panics.Add(1)
	// The 1st, 2nd, 4th, 8th…: a filter that always panics must not fill Envoy's log.
	if seen++; seen&(seen-1) == 0 {
		host.Log(host.Error, "panic "+strconv.FormatUint(uint64(seen), 10)+" in the filter, its request goes on: "+describe(cause)+place())
	}
}

func describe(cause any) string {
	switch cause := cause.(type) {
	case error:
		return cause.Error()
	case string:
		return cause
	}
	return "not an error"
}

// place is where the code in whose deferred call we are has panicked.
func place() string {
	var callers [16]uintptr
	frames := runtime.CallersFrames(callers[:runtime.Callers(3, callers[:])])
	for {
		frame, more := frames.Next()
		if !strings.HasPrefix(frame.Function, "runtime.") {
			return " at " + frame.Function + ":" + strconv.Itoa(frame.Line)
		}
		if !more {
			return ""
		}
	}
}
