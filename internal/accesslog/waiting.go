package accesslog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// dropBeyond deletes the oldest files where all of them are larger than may wait, but never the
// one that Envoy writes, and returns those that are left.
func (t *Tail) dropBeyond(names []string) ([]string, error) {
	sizes := make([]int64, len(names))
	var all int64
	for i, name := range names {
		stat, err := os.Stat(t.files.in(name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("stat log file: %w", err)
		}
		if err == nil {
			sizes[i] = stat.Size()
		}
		all += sizes[i]
	}
	for len(names) > 1 && all > t.MaxWaiting {
		if err := t.drop(names[0], sizes[0]); err != nil {
			return nil, err
		}
		all -= sizes[0]
		names, sizes = names[1:], sizes[1:]
	}
	return names, nil
}

// drop deletes a file with what is unread of it. Its offset in the store, which is away, stays as
// a row that nobody reads.
func (t *Tail) drop(name string, size int64) error {
	if err := os.Remove(t.files.in(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete log file: %w", err)
	}
	unread := size
	if f := t.open[name]; f != nil {
		unread -= max(f.offset, 0)
		delete(t.open, name)
		_ = f.file.Close() // it was only read
	}
	t.metrics.dropped.Add(float64(unread))
	t.Logger.Error("the store has been away for too long: a file of the access log was deleted unread (LOG_WAITING_MB)",
		"file", name, "bytes", unread)
	return nil
}
