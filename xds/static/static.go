// Package static is the source of routes that are declared in files: it reads them, tells what
// is wrong with them, and follows their changes.
package static

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"envoke/internal/routing"
)

// defaultEvery is how often the files are looked at. What changes is taken when two looks have
// seen the same: files that are being written say for a moment what nobody means.
const defaultEvery = 400 * time.Millisecond

// Options open a Watcher. All but Every are required.
type Options struct {
	// Paths are files, and folders whose *.yaml, *.yml and *.json count; together they are one
	// declaration.
	Paths   []string
	Sources *routing.Sources
	Every   time.Duration // 0: 400 ms
	Logger  *slog.Logger
}

// Watcher follows the files. They are read, and not only looked at for when they changed: a
// mounted volume swaps a link above them, and what is copied may keep its time.
type Watcher struct {
	Options

	// Of Serve alone.
	seen  [32]byte // what the last look saw
	taken [32]byte // what was taken, or refused
}

// Open reads the files and declares what is in them. The error names all that is wrong.
func Open(o Options) (*Watcher, error) {
	if o.Every == 0 {
		o.Every = defaultEvery
	}
	w := &Watcher{Options: o}
	texts, err := routing.ReadFiles(o.Paths...)
	if err != nil {
		return nil, err
	}
	declared, faults := routing.ParseAll(routing.Checks{Files: true}, texts...)
	if len(faults) > 0 {
		return nil, faults
	}
	w.taken = routing.Stamp(texts, nil)
	w.seen = w.taken
	o.Sources.Set(routing.FromFile, declared, nil)
	return w, nil
}

// Check names all that is wrong with the files, for those that are there at a start.
func Check(paths []string) []error {
	texts, err := routing.ReadFiles(paths...)
	if err != nil {
		return []error{err}
	}
	_, found := routing.ParseAll(routing.Checks{Files: true}, texts...)
	faults := make([]error, len(found))
	for i, fault := range found {
		faults[i] = fault
	}
	return faults
}

// Serve follows the files until ctx ends.
func (w *Watcher) Serve(ctx context.Context) error {
	tick := time.NewTicker(w.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			w.look(ctx)
		}
	}
}

// look takes what the files hold, if that is something else and sound.
func (w *Watcher) look(ctx context.Context) {
	texts, err := routing.ReadFiles(w.Paths...)
	now := routing.Stamp(texts, err)
	settled := now == w.seen
	w.seen = now
	if now == w.taken || !settled {
		return
	}
	w.taken = now
	if err != nil {
		w.refuse(ctx, faultsOf(err))
		return
	}
	declared, faults := routing.ParseAll(routing.Checks{Files: true}, texts...)
	if len(faults) > 0 {
		w.refuse(ctx, faults)
		return
	}
	w.Sources.Set(routing.FromFile, declared, nil)
	w.Logger.InfoContext(ctx, "took the changed files of routes",
		"files", len(texts), "upstreams", len(declared.Upstreams), "routes", len(declared.Routes))
}

func (w *Watcher) refuse(ctx context.Context, faults routing.Faults) {
	w.Sources.Refuse(routing.FromFile, faults)
	w.Logger.ErrorContext(ctx, "the files of routes changed and have faults: what they declared before stays",
		"faults", len(faults), "error", strings.ReplaceAll(faults.Error(), "\n", "; "))
}

// faultsOf are what keeps files from being read.
func faultsOf(err error) (faults routing.Faults) {
	var several interface{ Unwrap() []error }
	if errors.As(err, &several) {
		for _, one := range several.Unwrap() {
			faults = append(faults, routing.Fault{Message: one.Error()})
		}
		return faults
	}
	return routing.Faults{{Message: err.Error()}}
}
