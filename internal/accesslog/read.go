package accesslog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"envoke/internal/faas"
)

// logFile is a file that is being read.
type logFile struct {
	name    string
	file    *os.File
	offset  int64 // up to which the store has it; unknown where negative
	size    int64 // when it was looked at last
	deleted bool  // by somebody else, and the log says so
}

const unknown = -1

func (f *logFile) lag() int64 { return f.size - max(f.offset, 0) }

// file opens a file, or returns it if it is open, with its offset and its size.
func (t *Tail) file(ctx context.Context, name string) (*logFile, error) {
	f := t.open[name]
	if f == nil {
		file, err := os.Open(t.files.in(name))
		if err != nil {
			return nil, fmt.Errorf("open log file: %w", err)
		}
		f = &logFile{name: name, file: file, offset: unknown}
		t.open[name] = f
	}
	stat, err := f.file.Stat()
	if err != nil {
		return nil, fmt.Errorf("stat log file: %w", err)
	}
	f.size = stat.Size()
	if f.offset == unknown {
		offset, err := t.Store.LogOffset(ctx, name)
		if err != nil {
			return nil, err
		}
		f.offset = offset
	}
	if f.size < f.offset {
		t.Logger.Warn("somebody truncated the access log; reading it from its start", "file", name)
		f.offset = 0
	}
	return f, nil
}

// read stores the file's lines from its offset on. A last line without its end is
// left for later, when Envoy has written the rest.
func (t *Tail) read(ctx context.Context, f *logFile) error {
	for {
		n, err := f.file.ReadAt(t.buffer, f.offset)
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read log file: %w", err)
		}
		b := t.parse(t.buffer[:n])
		if b.bytes == 0 {
			if n < len(t.buffer) {
				return nil
			}
			// No line of Envoy's is that long. Its last part counts as malformed too.
			b = batch{bytes: n, malformed: 1}
		}
		if err := t.store(ctx, f, b); err != nil {
			return err
		}
	}
}

// batch is what one look at the buffer gave: rows are in t.rows.
type batch struct {
	bytes     int // whole lines only
	malformed int
}

// parse parses whole lines into t.rows, until these are full. Their texts are parts of one
// text, which is garbage when the rows are stored.
func (t *Tail) parse(read []byte) batch {
	var b batch
	t.rows = t.rows[:0]
	for chunk := string(read); len(t.rows) < maxRows; {
		end := strings.IndexByte(chunk[b.bytes:], '\n')
		if end < 0 {
			break
		}
		line := chunk[b.bytes : b.bytes+end]
		b.bytes += end + 1
		row, err := parseLine(line)
		if err != nil {
			b.malformed++
			continue
		}
		t.rows = append(t.rows, row)
	}
	return b
}

func (t *Tail) store(ctx context.Context, f *logFile, b batch) error {
	store := t.Store.AppendRequestLogs
	if t.CountOnly {
		store = t.Store.CountRequests
	}
	offset := f.offset + int64(b.bytes)
	if err := store(ctx, f.name, offset, stored(t.rows)); err != nil {
		// It may have been committed all the same: ask before trying again.
		f.offset = unknown
		return err
	}
	f.offset = offset
	t.metrics.count(t.rows, b.malformed)
	tellOfFilter(t.rows, t.metrics, t.FilterFailed)
	return nil
}

// tellOfFilter counts the requests that the filter failed, and tells of them.
func tellOfFilter(rows []faas.RequestLog, m metrics, tell func(time.Time)) {
	var last time.Time
	for i := range rows {
		if !filterFailed(&rows[i]) {
			continue
		}
		m.filterFailures.Inc()
		if began := rows[i].StartedAt; began.After(last) {
			last = began
		}
	}
	if !last.IsZero() {
		tell(last)
	}
}

// finish deletes a file that was read to its end and that nobody writes any more.
// What is left of it is a line that Envoy was killed in the middle of.
func (t *Tail) finish(ctx context.Context, f *logFile) error {
	if err := os.Remove(f.file.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete log file: %w", err)
	}
	if f.lag() > 0 {
		t.metrics.malformed.Inc()
	}
	delete(t.open, f.name)
	if err := f.file.Close(); err != nil {
		return fmt.Errorf("close log file: %w", err)
	}
	return t.Store.ForgetLogFile(ctx, f.name)
}

func (t *Tail) close() {
	for _, f := range t.open {
		_ = f.file.Close() // it was only read
	}
}
