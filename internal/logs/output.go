// Package logs shows operators which requests there were and what functions printed
// meanwhile.
package logs

import (
	"log/slog"
	"net/http"
	"sync"
	"time"
)

const (
	maxLines = 10_000
	maxBytes = 8 << 20 // of their texts
)

// Line is one line that a function printed.
type Line struct {
	RequestID string    `json:"-"` // of the invocation
	Owner     string    `json:"-"` // of the worker
	Time      time.Time `json:"time"`
	Level     string    `json:"level"`
	Text      string    `json:"text"`
}

func (l Line) bytes() int { return len(l.Text) }

// Output keeps the last 10,000 lines that functions printed, or 8 MiB of them, and why
// requests failed. The zero Output is empty and ready.
type Output struct {
	mu       sync.Mutex // guards what follows
	lines    last[Line]
	failures last[Failure]
}

// last are the last of many items, oldest first.
type last[T interface{ bytes() int }] struct {
	items []T
	size  int // in bytes
}

// add keeps an item, and forgets the oldest ones where that is too much.
func (l *last[T]) add(item T) {
	l.items = append(l.items, item)
	l.size += item.bytes()
	for len(l.items) > maxLines || l.size > maxBytes {
		l.size -= l.items[0].bytes()
		var none T
		l.items[0] = none // its memory is free at once
		l.items = l.items[1:]
	}
}

// Add keeps a line. One that belongs to no invocation is not kept.
func (o *Output) Add(line Line) {
	if line.RequestID == "" {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lines.add(line)
}

// addTo gives each entry the lines of its request, and why it failed.
func (o *Output) addTo(entries []Entry) {
	at := make(map[string]*Entry, len(entries))
	for i := range entries {
		at[entries[i].RequestID] = &entries[i]
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, line := range o.lines.items {
		if entry := at[line.RequestID]; entry != nil {
			entry.Output = append(entry.Output, line)
		}
	}
	for i := range o.failures.items {
		failure := o.failures.items[i]
		if entry := at[failure.RequestID]; entry != nil && entry.StatusCode >= http.StatusBadRequest {
			entry.Error = &failure
		}
	}
}

// OutputQuery selects lines. Empty fields select all.
type OutputQuery struct {
	ID    string     // of an invocation, or of a session that runs a script of its own
	Level slog.Level // the least
	Since time.Time

	Offset, Limit int // of the lines that match
}

func (q *OutputQuery) matches(line *Line) bool {
	var level slog.Level
	return (q.ID == "" || line.RequestID == q.ID || line.Owner == "session:"+q.ID) &&
		level.UnmarshalText([]byte(line.Level)) == nil && level >= q.Level &&
		!line.Time.Before(q.Since)
}

// Find returns a page of the lines that match, the oldest first, and how many match
// in all.
func (o *Output) Find(q OutputQuery) (page []Line, total int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range o.lines.items {
		line := &o.lines.items[i]
		if !q.matches(line) {
			continue
		}
		if total >= q.Offset && len(page) < q.Limit {
			page = append(page, *line)
		}
		total++
	}
	return page, total
}
