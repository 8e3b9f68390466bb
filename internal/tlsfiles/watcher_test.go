package tlsfiles_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"envoke/internal/testrig"
	"envoke/internal/tlsfiles"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// watched is a Watcher that runs, and what it told.
type watched struct {
	*tlsfiles.Watcher
	registry *prometheus.Registry
	log      testrig.Text
	told     atomic.Int64
	refuses  atomic.Bool
}

func watch(t *testing.T, f tlsfiles.Files) *watched {
	t.Helper()
	w := &watched{registry: prometheus.NewRegistry()}
	var err error
	w.Watcher, err = tlsfiles.Open(tlsfiles.Options{
		Files: f, Every: 50 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(&w.log, nil)), Registerer: w.registry,
		Changed: func(context.Context, *tlsfiles.Content) error {
			if w.refuses.Load() {
				return errors.New("not now")
			}
			w.told.Add(1)
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	testrig.Serve(t, w.Serve)
	return w
}

// metric is the value of a metric without labels.
func (w *watched) metric(t *testing.T, name string) float64 {
	t.Helper()
	families, err := w.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == name {
			m := family.GetMetric()[0]
			return m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}

func (w *watched) failures(t *testing.T) float64 {
	t.Helper()
	return w.metric(t, "envoke_xds_tls_reload_failures_total")
}

// TestRenewal: a sound renewal is told once; a broken one is counted once, said once, and
// changes nothing; what is sound again is taken.
func TestRenewal(t *testing.T) {
	a := authority(t)
	f := filesIn(t.TempDir())
	first, second := issue(t, a, time.Now(), time.Hour), issue(t, a, time.Now(), 100*time.Hour)
	write(t, f, first, caOf(t, a))
	w := watch(t, f)
	ends := w.metric(t, "envoke_xds_tls_certificate_ends_timestamp_seconds")

	write(t, f, second, caOf(t, a))
	testrig.Eventually(t, "the second", func() bool { return w.Current().Chain == string(second.cert) })
	if later := w.metric(t, "envoke_xds_tls_certificate_ends_timestamp_seconds"); later < ends+90*3600 {
		t.Errorf("the metric says it ends at %v, after %v", later, ends)
	}
	for n, broken := range []pair{{second.cert, first.key}, {[]byte("x"), second.key}, {nil, second.key}, issue(t, a, time.Now().Add(-9*time.Hour), time.Hour)} {
		write(t, f, broken, caOf(t, a))
		testrig.Eventually(t, "a failure", func() bool { return w.failures(t) == float64(n+1) })
		if w.Current().Chain != string(second.cert) {
			t.Errorf("broken files %d were taken", n)
		}
	}
	write(t, f, first, caOf(t, a))
	testrig.Eventually(t, "the first again", func() bool { return w.Current().Chain == string(first.cert) })
	if w.told.Load() != 2 || w.failures(t) != 4 || strings.Count(w.log.String(), "cannot be used") != 4 {
		t.Errorf("told %d times, %v failures, log:\n%s", w.told.Load(), w.failures(t), w.log.String())
	}
	if strings.Contains(w.log.String(), "PRIVATE KEY") {
		t.Error("the key is in the log")
	}
}

// TestSwappedFolder: Kubernetes mounts a link to a folder, and renames another link over it.
func TestSwappedFolder(t *testing.T) {
	a := authority(t)
	dir := t.TempDir()
	first, second := issue(t, a, time.Now(), time.Hour), issue(t, a, time.Now(), time.Hour)
	swap := func(name string, p pair) {
		t.Helper()
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filesIn(filepath.Join(dir, name)), p, caOf(t, a))
		if err := os.Symlink(name, filepath.Join(dir, "..tmp")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	swap("..1", first)
	f := filesIn(dir)
	for _, path := range []string{f.Cert, f.Key, f.ClientCA} {
		if err := os.Symlink(filepath.Join("..data", filepath.Base(path)), path); err != nil {
			t.Fatal(err)
		}
	}
	w := watch(t, f)
	swap("..2", second)
	testrig.Eventually(t, "the second", func() bool { return w.Current().Chain == string(second.cert) })
	if w.failures(t) != 0 {
		t.Errorf("%v failures", w.failures(t))
	}
}

// TestNobodyTakesIt: what could not be published is tried again, and said once.
func TestNobodyTakesIt(t *testing.T) {
	a := authority(t)
	f := filesIn(t.TempDir())
	write(t, f, issue(t, a, time.Now(), time.Hour), caOf(t, a))
	w := watch(t, f)
	w.refuses.Store(true)
	second := issue(t, a, time.Now(), time.Hour)
	write(t, f, second, caOf(t, a))
	testrig.Eventually(t, "a failure", func() bool { return w.failures(t) > 0 })
	w.refuses.Store(false)
	testrig.Eventually(t, "the second", func() bool { return w.Current().Chain == string(second.cert) })
	if w.failures(t) != 1 {
		t.Errorf("%v failures", w.failures(t))
	}
}

// TestSaysWhenNobodyRenews: once, however often it is looked at.
func TestSaysWhenNobodyRenews(t *testing.T) {
	a := authority(t)
	f := filesIn(t.TempDir())
	write(t, f, issue(t, a, time.Now(), time.Hour), caOf(t, a))
	w := watch(t, f)
	testrig.Eventually(t, "a warning", func() bool { return strings.Contains(w.log.String(), "ends soon") })
	write(t, f, issue(t, a, time.Now(), 1000*time.Hour), caOf(t, a))
	testrig.Eventually(t, "a renewal", func() bool { return strings.Contains(w.log.String(), "took the renewed") })
	if n := strings.Count(w.log.String(), "ends soon"); n != 1 {
		t.Errorf("it was said %d times:\n%s", n, w.log.String())
	}
}
