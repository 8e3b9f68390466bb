package main

import (
	"bytes"
	"strconv"
	"time"

	"envoke/filter/host"
)

// parseKeep reads what ext_proc says of a response: "60000,0".
func parseKeep(value []byte) (keep, age time.Duration, ok bool) {
	left, old, _ := bytes.Cut(value, []byte{','})
	keepMs, err := strconv.ParseInt(string(left), 10, 32)
	if err != nil {
		return 0, 0, false
	}
	ageMs, err := strconv.ParseInt(string(old), 10, 32)
	return time.Duration(keepMs) * time.Millisecond, time.Duration(ageMs) * time.Millisecond, err == nil
}

// readResponse notes the response's status, and those of its headers that are not about
// this exchange, with what tells where a later answer comes from.
func (c *call) readResponse(pairs host.Pairs, age time.Duration) {
	kept := []string{"server-timing", `cache;desc="filter"`}
	c.status, c.made = 0, host.Now().Add(-age).UnixNano()
	for at := pairs.Cursor(); at.Next(); {
		switch string(at.Name) {
		case ":status":
			c.status, _ = strconv.Atoi(string(at.Value))
		case "age", "date", "server", "content-length", "transfer-encoding", "connection", "x-request-id", "server-timing":
		case "x-content-type-options", "strict-transport-security", "vary":
			// The route adds them to every answer, also to this one when it comes from here:
			// hosts let no response be kept that has others of them.
		default:
			kept = append(kept, string(at.Name), string(at.Value))
		}
	}
	c.headers = host.NewPairs(kept...)
}

// What an envelope says of itself, from its host and from a cache.
var (
	fresh  = []byte(`"cached":false}`)
	cached = []byte(`"cached":true}`)
)

// scratch is where an entry is laid out. Envoy copies it.
var scratch = make([]byte, 0, maxEntry)

// store keeps the response for those who ask the same. An envelope that comes from its
// host says that it is not cached: it will be.
func (c *call) store(body []byte) {
	defer c.forget()
	e := entry{
		made: c.made, until: host.Now().UnixNano() + int64(c.keep), status: c.status, key: c.key, headers: c.headers,
	}
	if fixedSize+len(e.key)+len(e.headers)+len(body) > maxEntry {
		return
	}
	e.body = body
	start, isFresh := bytes.CutSuffix(body, fresh)
	if isFresh = isFresh && c.envelope; isFresh {
		e.body = start
	}
	if scratch = e.append(scratch[:0]); isFresh {
		scratch = append(scratch, cached...)
	}
	host.SetSharedData(slotOf(c.key), scratch, 0)
}
