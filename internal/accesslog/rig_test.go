package accesslog

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"envoke/internal/faas"
	"envoke/internal/sqlite"
	"envoke/internal/testrig"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testrig.WithPostgres(m)) }

// envoy writes a log as Envoy does: it opens path when it starts and when it is
// told to, after closing what it had open.
type envoy struct {
	t    *testing.T
	path string
	file *os.File
	next int // of the lines
}

func (e *envoy) reopen(context.Context) error {
	e.stop()
	file, err := os.OpenFile(e.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	e.file = file
	return err
}

func (e *envoy) stop() {
	if e.file != nil {
		_ = e.file.Close()
	}
}

func (e *envoy) write(text string) {
	e.t.Helper()
	if _, err := e.file.WriteString(text); err != nil {
		e.t.Fatal(err)
	}
}

// writeLines writes lines whose request ids are 0, 1, 2…
func (e *envoy) writeLines(n int) {
	e.t.Helper()
	var text strings.Builder
	for range n {
		text.WriteString(e.line())
	}
	e.write(text.String())
}

func (e *envoy) line() string {
	e.next++
	return fmt.Sprintf(`{"start":"1763834873.000001","request_id":"%d","route":"health","method":"GET","path":"/health","status":200}`+"\n", e.next-1)
}

// rig is a folder with a log, a store and an envoy that has opened the log.
type rig struct {
	*testing.T
	envoy    *envoy
	store    *sqlite.Store
	registry *prometheus.Registry
	options  Options
}

func newRig(t *testing.T) *rig {
	t.Helper()
	dir := t.TempDir()
	store, err := sqlite.Open(t.Context(), filepath.Join(dir, "envoke.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	r := &rig{T: t, store: store, envoy: &envoy{t: t, path: filepath.Join(dir, "access.log")}}
	r.options = Options{
		Path: r.envoy.path, Store: store, Logger: slog.New(slog.DiscardHandler), Interval: time.Millisecond, Reopen: r.envoy.reopen,
	}
	t.Cleanup(r.envoy.stop)
	return r
}

// process makes a tail as a new process would: with metrics of its own.
func (r *rig) process() *Tail {
	r.registry = prometheus.NewRegistry()
	r.options.Registerer = r.registry
	tail := New(r.options)
	r.Cleanup(tail.close)
	return tail
}

// start makes a tail, rotates and has the envoy open the log, as control does.
func (r *rig) start() *Tail {
	r.Helper()
	tail := r.process()
	if err := tail.Rotate(); err != nil {
		r.Fatal(err)
	}
	if err := r.envoy.reopen(r.Context()); err != nil {
		r.Fatal(err)
	}
	return tail
}

func (r *rig) look(tail *Tail) {
	r.Helper()
	if err := tail.look(r.Context()); err != nil {
		r.Fatal(err)
	}
}

// wantRows checks that lines 0 to n-1 are stored, each once.
func (r *rig) wantRows(n int) {
	r.Helper()
	rows, err := r.store.LatestRequestLogs(r.Context(), faas.RequestLogQuery{Limit: n + 100})
	if err != nil {
		r.Fatal(err)
	}
	times := make(map[string]int)
	for _, row := range rows {
		times[row.RequestID]++
	}
	for i := range n {
		if times[fmt.Sprint(i)] != 1 {
			r.Errorf("line %d is stored %d times", i, times[fmt.Sprint(i)])
		}
	}
	if len(rows) != n {
		r.Errorf("%d rows, want %d", len(rows), n)
	}
}

// wantFiles checks how many files of the log there are, the link not counted.
func (r *rig) wantFiles(n int) {
	r.Helper()
	names, err := files{path: r.envoy.path}.list()
	if err != nil || len(names) != n {
		r.Errorf("files are %v, want %d (error %v)", names, n, err)
	}
}

// metric is the value of a counter, a gauge or a histogram's count.
func (r *rig) metric(name string, labels ...string) float64 {
	r.Helper()
	families, err := r.registry.Gather()
	if err != nil {
		r.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			var have []string
			for _, label := range m.GetLabel() {
				have = append(have, label.GetName()+"="+label.GetValue())
			}
			if family.GetName() == name && cmp.Equal(have, labels) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return 0
}
