// Package resultcache remembers results of functions that may be cached: bounded by
// bytes, running a function once however many callers want the same result, and
// answering with what is old while one call renews it.
//
// A cache may lose what it holds at any time. It never makes a result older than its
// caller allows, and never gives one key's result for another's: keys are digests of
// everything that a result depends on.
package resultcache

import (
	"context"
	"crypto/sha256"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// Key names a result: a SHA-256 over all that it may depend on.
type Key [sha256.Size]byte

// Entry is a result as it was answered. It is shared: nobody changes it.
type Entry struct {
	Status  int
	Headers []Header
	Body    []byte
	Made    time.Time     // when the function answered
	Life    time.Duration // how old it may become before it is of no use to anybody

	// Reply is for who answers with the entry, to make a reply once for many: nil, or the
	// last one.
	Reply atomic.Pointer[Reply]
}

// Reply is what was made of an entry of that age, in seconds.
type Reply struct {
	Age     int64
	Message any
	Encoded atomic.Value // the same as it is sent; nothing until somebody encodes it
}

// Header is one header of a result.
type Header struct{ Name, Value string }

// entryCost is what an entry and its reply take beside their texts, about.
const entryCost = 1000

func (e *Entry) size() int64 {
	size := entryCost + len(e.Body)
	for _, h := range e.Headers {
		size += len(h.Name) + len(h.Value)
	}
	return int64(size)
}

// Limits are what a caller takes.
type Limits struct {
	MaxAge time.Duration // the oldest result; positive
	Stale  time.Duration // how much older while another call renews it
}

// Shared is a slower cache that several of this kind share.
type Shared interface {
	// Find returns nil where it has none, or cannot say.
	Find(ctx context.Context, key Key) *Entry
	Store(ctx context.Context, key Key, entry *Entry)
}

// Options make a Cache.
type Options struct {
	MaxBytes int64            // of all entries; none is larger than an eighth of it
	Shared   Shared           // asked before a function is run; nil: none
	Now      func() time.Time // nil: time.Now
}

// Cache holds the results most recently used.
type Cache struct {
	Options

	mu      sync.Mutex
	held    *simplelru.LRU[Key, *Entry]
	size    int64
	evicted uint64
	flights map[Key]*Flight
}

// maxEntries bounds the number of entries where they are small.
const maxEntries = 1 << 20

// New makes an empty cache.
func New(options Options) *Cache {
	c := &Cache{Options: options, flights: make(map[Key]*Flight)}
	if c.Now == nil {
		c.Now = time.Now
	}
	c.held, _ = simplelru.NewLRU(maxEntries, func(_ Key, e *Entry) { c.size -= e.size() }) // fails for sizes below 1 only
	return c
}

// MaxEntry is the size of the largest entry that is held, in bytes.
func (c *Cache) MaxEntry() int64 { return c.MaxBytes / 8 }

// Ask returns an entry to answer with, or the flight that will bring one. First tells
// that the flight is the caller's: it runs the function and must end the flight by
// Land or Leave. Others Wait.
func (c *Cache) Ask(key Key, limits Limits) (entry *Entry, flight *Flight, first bool) {
	now := c.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	flight = c.flights[key]
	if held, ok := c.held.Get(key); ok {
		age := now.Sub(held.Made)
		if age <= limits.MaxAge || flight != nil && age <= limits.MaxAge+limits.Stale {
			return held, nil, false
		}
	}
	if flight == nil {
		flight, first = &Flight{cache: c, key: key, landed: make(chan struct{})}, true
		c.flights[key] = flight
	}
	return nil, flight, first
}

// Stats are a cache's figures.
type Stats struct {
	Entries int
	Bytes   int64
	Flights int
	Evicted uint64 // entries that went for want of room
}

// Stats counts what is held.
func (c *Cache) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Stats{Entries: c.held.Len(), Bytes: c.size, Flights: len(c.flights), Evicted: c.evicted}
}

// hold is called with the lock held.
func (c *Cache) hold(key Key, e *Entry) {
	c.held.Remove(key)
	if e.size() > c.MaxEntry() {
		return
	}
	if c.held.Add(key, e) {
		c.evicted++
	}
	for c.size += e.size(); c.size > c.MaxBytes; c.evicted++ {
		c.held.RemoveOldest()
	}
}
