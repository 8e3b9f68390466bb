// Package lookup remembers what was looked up elsewhere: bounded by count and by
// size, asking once however many want to know, and never holding what was dropped
// while it was on its way.
package lookup

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// errAbandoned is what those who waited for a find that panicked are told.
var errAbandoned = errors.New("the look-up ended without an answer")

// Memory holds the values most recently used. Values are shared between callers,
// who must not change them.
type Memory[K comparable, V any] struct {
	maxSize int64
	size    func(V) int64

	mu       sync.Mutex
	held     *simplelru.LRU[K, V]
	heldSize int64
	flights  map[K]*flight[V]
}

// A flight is one find under way. It may put its value into memory only as long
// as it is listed: Hold and Drop unlist it, since what it read may be older.
type flight[V any] struct {
	landed chan struct{}
	value  V
	err    error
}

// New makes a memory of at most count values whose sizes sum up to at most
// maxSize. A nil size bounds the count only.
func New[K comparable, V any](count int, maxSize int64, size func(V) int64) *Memory[K, V] {
	if size == nil {
		size = func(V) int64 { return 0 }
	}
	m := &Memory[K, V]{maxSize: maxSize, size: size, flights: make(map[K]*flight[V])}
	evicted := func(_ K, v V) { m.heldSize -= size(v) }
	m.held, _ = simplelru.NewLRU(max(count, 1), evicted) // fails for counts below 1 only
	return m
}

// Held returns the value held under key.
func (m *Memory[K, V]) Held(key K) (V, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.held.Get(key)
}

// Find asks find for the value, even where one is held, and holds it. Those who
// ask for the same key meanwhile share the answer. The timeout bounds find, whose
// context does not end with the caller's: the others still want to know.
func (m *Memory[K, V]) Find(ctx context.Context, key K, timeout time.Duration, find func(context.Context) (V, error)) (V, error) {
	f, first := m.board(key)
	if first {
		defer m.land(key, f)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
		defer cancel()
		f.value, f.err = find(ctx)
		return f.value, f.err
	}
	select {
	case <-f.landed:
		return f.value, f.err
	case <-ctx.Done():
		var none V
		return none, fmt.Errorf("wait for a look-up: %w", ctx.Err())
	}
}

func (m *Memory[K, V]) board(key K) (f *flight[V], first bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f, ok := m.flights[key]; ok {
		return f, false
	}
	f = &flight[V]{landed: make(chan struct{}), err: errAbandoned}
	m.flights[key] = f
	return f, true
}

func (m *Memory[K, V]) land(key K, f *flight[V]) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.flights[key] == f {
		delete(m.flights, key)
		if f.err == nil {
			m.hold(key, f.value)
		}
	}
	close(f.landed)
}

// Hold puts a value into memory that its caller knows to be the newest.
func (m *Memory[K, V]) Hold(key K, v V) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.flights, key)
	m.hold(key, v)
}

func (m *Memory[K, V]) hold(key K, v V) {
	m.held.Remove(key)
	size := m.size(v)
	if size > m.maxSize {
		return
	}
	m.held.Add(key, v)
	m.heldSize += size
	for m.heldSize > m.maxSize {
		m.held.RemoveOldest()
	}
}

// Drop forgets the value. Once it has returned, nothing that was read before is
// held or handed to a new caller.
func (m *Memory[K, V]) Drop(key K) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.flights, key)
	m.held.Remove(key)
}

// DropAll forgets the values of all keys that match, as Drop does of one. It looks
// at every key: it is for what changes rarely.
func (m *Memory[K, V]) DropAll(match func(K) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, key := range m.held.Keys() {
		if match(key) {
			m.held.Remove(key)
		}
	}
	maps.DeleteFunc(m.flights, func(key K, _ *flight[V]) bool { return match(key) })
}

// Unshare keeps what is being asked for from new callers, and from being held. What is held
// stays: its caller knows what of it is old.
func (m *Memory[K, V]) Unshare() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.flights)
}

// Len is the number of values held.
func (m *Memory[K, V]) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.held.Len()
}

// Size is the sum of the sizes of the values held.
func (m *Memory[K, V]) Size() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.heldSize
}
