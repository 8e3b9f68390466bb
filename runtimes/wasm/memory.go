package wasm

import (
	"fmt"
	"runtime"
	"sync"

	"github.com/tetratelabs/wazero/experimental"
	"golang.org/x/sys/unix"
)

// pageBits makes bytes of WebAssembly's pages of 64 KiB.
const pageBits = 16

// clearUpTo is the size up to which memory is cleared by hand; for more, the kernel is
// asked for new pages, which then have to be faulted in. Measured with a memory of
// 1.1 MiB, most of which was never touched: 66 µs for a whole call instead of 83.
const clearUpTo = 2 << 20

// memories lends linear memories. One lies outside Go's heap, at the full size that an
// instance may have but without pages until they are touched, so that it grows without
// being copied; it is used again and again. With Go's own memory, a call costs five
// times as much (BenchmarkInvoke against BenchmarkBare).
type memories struct {
	size int // bytes of address space of each

	mu   sync.Mutex
	free [][]byte
}

// linear is one instance's memory, and its allocator.
type linear struct {
	bytes   []byte
	limit   uint64
	used    uint64 // the largest size that the instance had
	refused bool   // the instance wanted more than the limit
}

// take lends a zeroed memory of at most limit bytes.
func (m *memories) take(limit uint64) (*linear, error) {
	m.mu.Lock()
	var bytes []byte
	if last := len(m.free) - 1; last >= 0 {
		bytes, m.free = m.free[last], m.free[:last]
	}
	m.mu.Unlock()
	if bytes == nil {
		var err error
		bytes, err = unix.Mmap(-1, 0, m.size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
		if err != nil {
			return nil, fmt.Errorf("map %d bytes of memory: %w", m.size, err)
		}
	}
	return &linear{bytes: bytes, limit: min(limit, uint64(m.size))}, nil
}

// give takes a memory back whose instance has ended.
func (m *memories) give(l *linear) {
	used := l.bytes[:l.used]
	var err error
	if len(used) <= clearUpTo {
		clear(used)
	} else {
		err = unix.Madvise(used, unix.MADV_DONTNEED)
	}
	m.mu.Lock()
	keep := err == nil && len(m.free) < 4*runtime.GOMAXPROCS(0)
	if keep {
		m.free = append(m.free, l.bytes)
	}
	m.mu.Unlock()
	if !keep {
		_ = unix.Munmap(l.bytes)
	}
}

// close unmaps what is not lent.
func (m *memories) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, bytes := range m.free {
		_ = unix.Munmap(bytes)
	}
	m.free = nil
}

// Allocate implements experimental.MemoryAllocator.
func (l *linear) Allocate(uint64, uint64) experimental.LinearMemory { return l }

// Reallocate implements experimental.LinearMemory.
func (l *linear) Reallocate(size uint64) []byte {
	if size > l.limit {
		l.refused = true
		return nil
	}
	l.used = max(l.used, size)
	return l.bytes[:size:size]
}

// Free implements experimental.LinearMemory. Not every failed instance is freed by
// wazero, so that whoever took the memory gives it back.
func (l *linear) Free() {}
