package accesslog

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
)

// followDeleted goes on with files whose names somebody took away while they were
// being read. Envoy does not notice and writes on to what nobody else can open: what
// it writes there is still read, and it is asked to begin another file.
func (t *Tail) followDeleted(ctx context.Context, names []string) error {
	var all error
	for name, file := range t.open {
		if slices.Contains(names, name) {
			continue
		}
		younger := len(names) > 0 && t.files.number(names[len(names)-1]) > t.files.number(name)
		all = errors.Join(all, t.follow(ctx, name, younger), t.replace(ctx, file, younger))
	}
	return all
}

// replace says once that a file was deleted and has Envoy begin another, unless it
// has done so.
func (t *Tail) replace(ctx context.Context, file *logFile, replaced bool) error {
	if !file.deleted {
		file.deleted = true
		t.metrics.deleted.Inc()
		t.Logger.Error("somebody deleted a file of the access log that was in use; what Envoy writes to it is still read until it has begun another",
			"file", file.name)
	}
	if replaced || t.Reopen == nil || t.asked == file.name {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(t.Path), 0o700); err != nil {
		return err
	}
	if err := t.files.link(); err != nil { // the deleted name is not used again
		return err
	}
	return t.askToReopen(ctx, file)
}
