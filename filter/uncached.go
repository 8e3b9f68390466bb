package main

import (
	"hash/fnv"
	"strings"
	"time"

	"envoke/filter/host"
)

const (
	// uncachedHeader takes a call past ext_proc, whose route then goes straight to the host.
	uncachedHeader = "x-envoke-uncached"
	// maxTrusted is how long a function is held for one whose results are not cached.
	maxTrusted = maxKept
)

// uncached are functions of which ext_proc has said that their results are not cached,
// each where the hash of its name says. A later one takes the place of another.
var uncached [256]struct {
	name  string
	until int64 // nanoseconds since 1970
}

// functionOf is the name in the path of a call by plain HTTP.
func functionOf(path string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(path, functionPath), "/")
	name, _, _ = strings.Cut(name, "?")
	return name
}

func placeOf(name string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name)) // never fails
	return h.Sum32() % uint32(len(uncached))
}

// isUncached tells whether ext_proc need not be asked about calls of the function.
func isUncached(name string, now int64) bool {
	u := &uncached[placeOf(name)]
	return u.name == name && now < u.until
}

// goesPast tells whether ext_proc need not be asked about the call. Where it must, the
// name of the function is noted for its answer.
func (c *call) goesPast(namespace, path string) bool {
	if c.envelope || c.asked {
		return false
	}
	name := functionOf(path)
	if namespace != "" { // another function than that of the name in another namespace
		name = namespace + "/" + name
	}
	if isUncached(name, host.Now().UnixNano()) {
		return true
	}
	c.function = strings.Clone(name)
	return false
}

// learn notes what ext_proc has said of the function of a call.
func (c *call) learn() {
	if c.envelope || c.asked || string(host.Property("metadata", "filter_metadata", "envoke", "uncached")) != "1" {
		return
	}
	u := &uncached[placeOf(c.function)]
	u.name, u.until = c.function, host.Now().UnixNano()+int64(maxTrusted/time.Nanosecond)
}
