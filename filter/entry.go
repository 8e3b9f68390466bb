package main

import (
	"encoding/binary"
	"time"

	"envoke/filter/host"
	"envoke/internal/faas"
)

// entry is a result as it lies in a slot of what Envoy's threads share:
//
//	digest of the call                             32 bytes
//	when it was made, and until when it is given    8 and 8, nanoseconds since 1970
//	whether its caller asked for caching            1
//	status                                          2
//	size of the headers, the headers                4, …
//	body                                            …
//
// The digest is there in full, since many calls share a slot: what is found in one may
// be another's.
type entry struct {
	digest      faas.CallDigest
	made, until int64
	asked       bool
	status      int
	headers     host.Pairs
	body        []byte
}

const (
	fixedSize = len(faas.CallDigest{}) + 8 + 8 + 1 + 2 + 4

	// maxKept is how long a result is given without asking ext_proc, which hears at once
	// of what has changed.
	maxKept = 900 * time.Millisecond
	// maxEntry bounds an entry, in bytes.
	maxEntry = 32 << 10
)

// append lays the entry out.
func (e *entry) append(b []byte) []byte {
	b = append(b, e.digest[:]...)
	b = binary.LittleEndian.AppendUint64(b, uint64(e.made))
	b = binary.LittleEndian.AppendUint64(b, uint64(e.until))
	b = append(b, 0)
	if e.asked {
		b[len(b)-1] = 1
	}
	b = binary.LittleEndian.AppendUint16(b, uint16(e.status))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(e.headers)))
	b = append(b, e.headers...)
	return append(b, e.body...)
}

// parse reads what append wrote; its headers and body are parts of raw. It tells false
// for anything else.
func (e *entry) parse(raw []byte) bool {
	if len(raw) < fixedSize {
		return false
	}
	raw = raw[copy(e.digest[:], raw):]
	e.made = int64(binary.LittleEndian.Uint64(raw))
	e.until = int64(binary.LittleEndian.Uint64(raw[8:]))
	e.asked = raw[16] == 1
	e.status = int(binary.LittleEndian.Uint16(raw[17:]))
	size := binary.LittleEndian.Uint32(raw[19:])
	raw = raw[23:]
	if int64(size) > int64(len(raw)) {
		return false
	}
	e.headers, e.body = host.Pairs(raw[:size]), raw[size:]
	return true
}

// answers tells whether the entry is the result of that call and its caller takes one
// that old. A caller who asked for nothing gets nothing that another asked for.
func (e *entry) answers(c *call, now int64) bool {
	return e.digest == c.digest && e.asked == c.asked && now < e.until &&
		(!c.asked || now-e.made <= int64(c.maxAge))
}
