// Package logs shows operators which requests there were and what functions printed
// meanwhile.
package logs

import (
	"log/slog"
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

// Output keeps the last 10,000 lines that functions printed, or 8 MiB of them. The
// zero Output is empty and ready.
type Output struct {
	mu    sync.Mutex // guards what follows
	lines []Line     // oldest first
	bytes int
}

// Add keeps a line, and forgets the oldest ones where that is too much. A line that
// belongs to no invocation is not kept.
func (o *Output) Add(line Line) {
	if line.RequestID == "" {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lines = append(o.lines, line)
	o.bytes += len(line.Text)
	for len(o.lines) > maxLines || o.bytes > maxBytes {
		o.bytes -= len(o.lines[0].Text)
		o.lines[0] = Line{} // its memory is free at once
		o.lines = o.lines[1:]
	}
}

// addTo gives each entry the lines of its request.
func (o *Output) addTo(entries []Entry) {
	at := make(map[string]*Entry, len(entries))
	for i := range entries {
		at[entries[i].RequestID] = &entries[i]
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, line := range o.lines {
		if entry := at[line.RequestID]; entry != nil {
			entry.Output = append(entry.Output, line)
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
	for i := range o.lines {
		if !q.matches(&o.lines[i]) {
			continue
		}
		if total >= q.Offset && len(page) < q.Limit {
			page = append(page, o.lines[i])
		}
		total++
	}
	return page, total
}
