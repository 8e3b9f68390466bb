package tlsfiles

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// defaultEvery is how often the files are looked at.
	defaultEvery = time.Second
	// endsSoon is when the end of a certificate is said: tools renew weeks before it.
	endsSoon = 72 * time.Hour
	sayAgain = 24 * time.Hour
)

// Options open a Watcher. All but Every are required.
type Options struct {
	Files
	// Changed is told what the files hold now. It is asked again where it fails.
	Changed    func(context.Context, *Content) error
	Every      time.Duration // 0: a second
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Watcher follows the files. They are read, and not only looked at for when they changed: a
// mounted volume swaps a link above them, and what is copied may keep its time.
type Watcher struct {
	Options
	failures prometheus.Counter
	current  atomic.Pointer[Content]

	// Of Serve alone.
	taken             stamp // of the files that hold what is current
	suspect, reported stamp // of files that are broken, or that nobody took
	saidEnd           time.Time
}

// stamp is a digest of what the files hold, or of why they cannot be read.
type stamp [sha256.Size]byte

// Open reads the files. The error names all that is wrong with them.
func Open(o Options) (*Watcher, error) {
	raw, faults := o.raw()
	taken := stampOf(raw, faults)
	var content *Content
	if faults == nil {
		content, faults = o.parse(raw, time.Now())
	}
	if faults != nil {
		return nil, errors.Join(faults...)
	}
	if o.Every == 0 {
		o.Every = defaultEvery
	}
	w := &Watcher{Options: o, taken: taken, failures: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "envoke_xds_tls_reload_failures_total",
		Help: "Renewals of the public certificate that were not taken, since its files make no sense.",
	})}
	w.current.Store(content)
	o.Registerer.MustRegister(w.failures, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "envoke_xds_tls_certificate_ends_timestamp_seconds",
		Help: "When the public certificate ends, in Unix time.",
	}, func() float64 { return float64(w.Current().Ends().Unix()) }))
	return w, nil
}

// Current is what the files hold, or held when they last made sense.
func (w *Watcher) Current() *Content { return w.current.Load() }

// Serve follows the files until ctx ends.
func (w *Watcher) Serve(ctx context.Context) error {
	tick := time.NewTicker(w.Every)
	defer tick.Stop()
	for {
		w.warn(time.Now())
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			w.look(ctx)
		}
	}
}

// look takes what the files hold, if that is another certificate and a sound one.
func (w *Watcher) look(ctx context.Context) {
	raw, faults := w.raw()
	now := stampOf(raw, faults)
	if now == w.taken {
		w.suspect, w.reported = stamp{}, stamp{}
		return
	}
	var content *Content
	if faults == nil {
		content, faults = w.parse(raw, time.Now())
	}
	if faults != nil {
		w.refuse(now, errors.Join(faults...))
		return
	}
	if err := w.Changed(ctx, content); err != nil {
		w.refuse(now, err)
		return
	}
	w.current.Store(content)
	w.taken, w.suspect, w.reported, w.saidEnd = now, stamp{}, stamp{}, time.Time{}
	w.Logger.InfoContext(ctx, "took the renewed certificate", "file", w.Cert, "ends", content.Ends().UTC().Format(time.RFC3339))
}

// refuse tells of files that are not taken, once for each state of them. Files that are
// replaced one after the other do not fit each other in between, so they are looked at twice.
func (w *Watcher) refuse(now stamp, err error) {
	switch now {
	case w.reported:
		return
	case w.suspect:
	default:
		w.suspect = now
		return
	}
	w.reported = now
	w.failures.Inc()
	w.Logger.Error("the files of the public certificate changed and cannot be used: the one before stays",
		"error", err, "ends", w.Current().Ends().UTC().Format(time.RFC3339))
}

func stampOf(raw [3][]byte, faults []error) stamp {
	h := sha256.New()
	for _, part := range raw {
		fmt.Fprintf(h, "%d ", len(part))
		h.Write(part)
	}
	fmt.Fprint(h, faults)
	return stamp(h.Sum(nil))
}

// warn says once a day that nobody renews the certificate.
func (w *Watcher) warn(now time.Time) {
	ends := w.Current().Ends()
	if ends.Sub(now) > endsSoon || now.Sub(w.saidEnd) < sayAgain {
		return
	}
	w.saidEnd = now
	w.Logger.Warn("the public certificate ends soon, and its files hold no other",
		"file", w.Cert, "ends", ends.UTC().Format(time.RFC3339))
}
