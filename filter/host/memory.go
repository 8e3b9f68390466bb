package host

import "unsafe"

// arenaSize is enough for what Envoy copies to us during a usual callback: all headers
// that it accepts of a request are 60 KiB by default.
const arenaSize = 64 << 10

// Envoy calls us on one thread, one callback after the other: nothing here needs a lock.
var (
	arena [arenaSize]byte // the memory of one callback
	free  = arena[:]      // what is left of it
	given = []byte{}      // what Envoy got for its answer
	where out             // what else it writes
)

// out is where Envoy writes numbers. They are in no function's frame: a stack may move
// while Envoy is in a call and asks for memory.
type out struct {
	address, size, version uint32
	nanoseconds            uint64
	metric                 uint32
}

// Begin is the first thing that a callback does: what was read in callbacks before is
// overwritten from here on.
func Begin() { free = arena[:] }

// allocate gives Envoy memory for its answer to a call; once for a call, and never for
// an empty one. What does not fit into the arena is the garbage collector's.
//
//go:wasmexport proxy_on_memory_allocate
func allocate(size uint32) *byte {
	if int(size) <= len(free) {
		given, free = free[:size:size], free[size:]
	} else {
		given = make([]byte, size)
	}
	return &given[0]
}

// answer is what Envoy put there: nil where it had nothing.
func answer(s status) (value []byte) {
	if s == ok {
		value = given
	}
	given = []byte{}
	return value
}

// text passes a slice where a call wants a string, of which Envoy copies what it keeps.
func text(b []byte) string {
	return unsafe.String(unsafe.SliceData(b), len(b)) //nolint:gosec // the call reads it while b lives
}
