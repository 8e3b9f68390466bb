// Package accesslog turns the log that Envoy writes, a JSON object a line, into
// stored request logs, session counts and metrics. It is the one source of all
// three, and each line counts exactly once, whatever is killed when: see files.
package accesslog

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"envoke/internal/faas"
)

// Store is what the tail needs of a store.
type Store interface {
	LogOffset(ctx context.Context, file string) (int64, error)
	AppendRequestLogs(ctx context.Context, file string, offset int64, rows []faas.RequestLog) error
	CountRequests(ctx context.Context, file string, offset int64, rows []faas.RequestLog) error
	ForgetLogFile(ctx context.Context, file string) error
}

// Options are a Tail's settings. Path, Store, Logger and Registerer are required.
type Options struct {
	Path       string // Envoy's setting; what is there is ours to manage
	Store      Store
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	Interval   time.Duration // between looks at the file; 0: 100 ms
	MaxSize    int64         // of a file before the next is begun, in bytes; 0: 64 MiB
	// MaxWaiting bounds the files that wait for a store that is away, in bytes; 0: 4 GiB. The
	// oldest of more are deleted unread, and counted. It should be several times MaxSize.
	MaxWaiting int64
	CountOnly  bool // store no rows, only what sessions count
	// Reopen makes Envoy open Path again. Without it no file is ever full.
	Reopen func(context.Context) error
	// FilterFailed is called when the filter in Envoy failed requests, with the time at which
	// the last of them began. Reading waits for it. Nil: nobody wants to know.
	FilterFailed func(began time.Time)
}

const (
	defaultInterval = 100 * time.Millisecond
	defaultMaxSize  = 64 << 20
	defaultWaiting  = 4 << 30

	// Reading is bounded by both: the store's one writer is shared, and a batch of
	// this size keeps it for some 10 ms.
	maxRows   = 1000
	readBytes = 512 << 10

	reopenTimeout = 2 * time.Second
	drainTimeout  = 5 * time.Second
)

// Tail follows the log. It belongs to one goroutine, that of Serve.
type Tail struct {
	Options
	files   files
	open    map[string]*logFile
	buffer  []byte
	rows    []faas.RequestLog
	asked   string // the file after which Envoy was asked to open the next
	failing bool   // the last look failed, and the log says so
	metrics metrics
}

// New makes a tail of the log at o.Path. It touches no file.
func New(o Options) *Tail {
	if o.Interval == 0 {
		o.Interval = defaultInterval
	}
	if o.MaxSize == 0 {
		o.MaxSize = defaultMaxSize
	}
	if o.MaxWaiting == 0 {
		o.MaxWaiting = defaultWaiting
	}
	if o.FilterFailed == nil {
		o.FilterFailed = func(time.Time) {}
	}
	return &Tail{
		Options: o,
		files:   files{path: o.Path},
		open:    make(map[string]*logFile),
		buffer:  make([]byte, readBytes),
		rows:    make([]faas.RequestLog, 0, maxRows),
		metrics: newMetrics(o.Registerer),
	}
}

// Rotate begins a new file for the Envoy that is about to start. The files of
// earlier ones are finished by Serve. It must return before Envoy starts, and
// Serve must not be running yet.
func (t *Tail) Rotate() error { return t.files.rotate() }

// Serve follows the log until ctx ends, then reads to its end and returns. Stop
// Envoy first: what it writes after that is read by the next Serve.
// A store that is away is waited for; the file keeps the lines meanwhile.
func (t *Tail) Serve(ctx context.Context) error {
	tick := time.NewTicker(t.Interval)
	defer tick.Stop()
	defer t.close()
	for {
		t.report(t.look(ctx))
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
			defer cancel()
			t.report(t.look(last))
			return nil
		case <-tick.C:
		}
	}
}

// report logs where failing begins and ends, rather than ten times a second.
func (t *Tail) report(err error) {
	switch {
	case err != nil && !t.failing:
		t.Logger.Warn("cannot store the access log; its lines wait in the file", "error", err)
	case err == nil && t.failing:
		t.Logger.Info("storing the access log again")
	}
	t.failing = err != nil
}

// look reads every file to its end, oldest first.
func (t *Tail) look(ctx context.Context) error {
	names, err := t.files.list()
	if err != nil {
		return err
	}
	if err := t.followDeleted(ctx, names); err != nil || len(names) == 0 {
		return err
	}
	if names, err = t.dropBeyond(names); err != nil {
		return err
	}
	newest := names[len(names)-1]
	for _, name := range names {
		// A younger file was there before this one is read to its end.
		err = errors.Join(err, t.follow(ctx, name, name != newest))
	}
	t.metrics.lag.Set(float64(t.lag()))
	// A full file is no reason to wait for the store.
	return errors.Join(err, t.rotateIfFull(ctx, t.open[newest]))
}

func (t *Tail) follow(ctx context.Context, name string, complete bool) error {
	file, err := t.file(ctx, name)
	if err != nil {
		return err
	}
	if err := t.read(ctx, file); err != nil {
		return err
	}
	if complete {
		return t.finish(ctx, file)
	}
	return nil
}

func (t *Tail) lag() int64 {
	var lag int64
	for _, file := range t.open {
		lag += file.lag()
	}
	return lag
}

func (t *Tail) rotateIfFull(ctx context.Context, newest *logFile) error {
	if t.Reopen == nil || newest == nil || newest.size < t.MaxSize || t.asked == newest.name {
		return nil
	}
	if err := t.files.rotate(); err != nil {
		return err
	}
	return t.askToReopen(ctx, newest)
}

// askToReopen has Envoy open what the link names now, after the given file.
func (t *Tail) askToReopen(ctx context.Context, file *logFile) error {
	ctx, cancel := context.WithTimeout(ctx, reopenTimeout)
	defer cancel()
	if err := t.Reopen(ctx); err != nil {
		return err
	}
	t.asked = file.name
	return nil
}
