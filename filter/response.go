package main

import (
	"bytes"
	"strconv"
	"time"

	"envoke/filter/host"
)

// readResponse notes the response's status, and those of its headers that are not about
// this exchange, with what tells where a later answer comes from.
func (c *call) readResponse(pairs host.Pairs) {
	kept := []string{"server-timing", `cache;desc="filter"`}
	c.status, c.made = 0, host.Now().UnixNano()
	for at := pairs.Cursor(); at.Next(); {
		switch string(at.Name) {
		case ":status":
			c.status, _ = strconv.Atoi(string(at.Value))
		case "age":
			seconds, _ := strconv.ParseInt(string(at.Value), 10, 32)
			c.made -= seconds * int64(time.Second)
		case "date", "server", "content-length", "transfer-encoding", "connection", "x-request-id", "server-timing":
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
