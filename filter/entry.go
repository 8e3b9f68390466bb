package main

import (
	"bytes"
	"encoding/binary"
	"time"

	"envoke/filter/host"
)

// entry is a result as it lies in a slot of what Envoy's threads share:
//
//	when it was made, and until when it is given    8 and 8, nanoseconds since 1970
//	status                                          2
//	sizes of the key and of the headers             4 and 4
//	key, headers, body                              …
//
// The key is all that the result depends on, in full: many calls share a slot, so that
// what is found in one may be another's, and comparing costs less than a digest that
// could stand for it.
type entry struct {
	made, until int64
	status      int
	key         []byte
	headers     host.Pairs
	body        []byte
}

const (
	fixedSize = 8 + 8 + 2 + 4 + 4

	// maxKept is how long a result is given without asking ext_proc, which hears at once
	// of what has changed.
	maxKept = 900 * time.Millisecond
	// maxKey bounds the key of a result that is kept here, in bytes.
	maxKey = 8 << 10
	// maxEntry bounds an entry, in bytes.
	maxEntry = 32 << 10
)

// append lays the entry out.
func (e *entry) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(e.made))
	b = binary.LittleEndian.AppendUint64(b, uint64(e.until))
	b = binary.LittleEndian.AppendUint16(b, uint16(e.status))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(e.key)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(e.headers)))
	b = append(b, e.key...)
	b = append(b, e.headers...)
	return append(b, e.body...)
}

// parse reads what append wrote; its texts are parts of raw. It tells false for anything
// else.
func (e *entry) parse(raw []byte) bool {
	if len(raw) < fixedSize {
		return false
	}
	e.made = int64(binary.LittleEndian.Uint64(raw))
	e.until = int64(binary.LittleEndian.Uint64(raw[8:]))
	e.status = int(binary.LittleEndian.Uint16(raw[16:]))
	key := uint64(binary.LittleEndian.Uint32(raw[18:]))
	headers := uint64(binary.LittleEndian.Uint32(raw[22:]))
	raw = raw[fixedSize:]
	if key+headers > uint64(len(raw)) {
		return false
	}
	e.key, e.headers, e.body = raw[:key], host.Pairs(raw[key:key+headers]), raw[key+headers:]
	return true
}

// answers tells whether the entry is the result of that call and its caller takes one
// that old.
func (e *entry) answers(c *call, now int64) bool {
	return now < e.until && (!c.asked || now-e.made <= int64(c.maxAge)) && bytes.Equal(e.key, c.key)
}

var slotName [4]byte

// slotOf is the slot in which the result of that key belongs.
func slotOf(key []byte) []byte {
	binary.LittleEndian.PutUint32(slotName[:], uint32(hash(key)%uint64(slots)))
	return slotName[:]
}

// hash spreads keys over slots, and is of no other use: FNV-1a by words of eight bytes,
// whose high bits are mixed into the low ones.
func hash(key []byte) uint64 {
	const prime = 0x100000001b3
	h := uint64(0xcbf29ce484222325) + uint64(len(key))
	for ; len(key) >= 8; key = key[8:] {
		h = (h ^ binary.LittleEndian.Uint64(key)) * prime
		h ^= h >> 32
	}
	for _, b := range key {
		h = (h ^ uint64(b)) * prime
	}
	return h ^ h>>32
}
