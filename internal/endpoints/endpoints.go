// Package endpoints is how hosts on several machines are found: each says in a directory that
// all share that it is there, and control follows the directory. What is said there counts for
// nothing before the host has shown who it is.
package endpoints

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"envoke/internal/faas"
)

const (
	// lookEvery is how often the directory is read: much less than the second in which a
	// new host is to be in use.
	lookEvery   = 200 * time.Millisecond
	lookTimeout = 500 * time.Millisecond
	// grace is for how long a host stays in any case that is not in the directory any more: a
	// Redis that was started anew knows no host until each has said that it is there.
	grace = 2 * again
	// maxKnown bounds the hosts that are remembered, maxStrange those among them beyond which
	// none is that has not shown who it is and is in the directory no more.
	maxKnown   = 4096
	maxStrange = maxKnown / 2
)

// Directory is where hosts say that they are there.
type Directory interface {
	List(context.Context) ([]faas.Host, error)
}

// Options make a Follower. All are required.
type Options struct {
	Directory Directory
	// Prove has a host show that it is what the directory says. Its error is logged; it is
	// ErrNotReady where that is all that is missing.
	Prove func(context.Context, faas.Host) error
	// Changed is told of all hosts in use, in a fixed order, where they are others than
	// before, and once at the beginning. After an error it is told again.
	Changed    func(context.Context, []faas.Host) error
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Follower knows the hosts that may be sent requests. It belongs to the goroutine of Serve.
type Follower struct {
	Options
	metrics metrics
	hosts   map[faas.Host]*entry // by all that they say of themselves, but for a goodbye
	proven  chan proof
	asking  int // proofs under way
	kept    int // hosts that are in use although the directory does not have them
	running sync.WaitGroup
	told    []faas.Host // nil: nothing yet
	away    bool        // the directory did not answer, and the log says so
}

// entry is a host that the directory has or had lately.
type entry struct {
	host    faas.Host
	inUse   bool      // it has shown who it is
	asked   bool      // it is being asked
	next    time.Time // when it may be asked again
	refused bool      // it did not show who it is, and the log says so
	missing time.Time // since when the directory does not have it; zero: it does
	failed  int       // proofs in a row that failed while it was missing
}

type metrics struct {
	inUse   *prometheus.GaugeVec
	refused prometheus.Counter
	away    prometheus.Gauge
	kept    prometheus.Gauge
}

// New makes a follower.
func New(o Options) *Follower {
	f := &Follower{
		Options: o, hosts: map[faas.Host]*entry{}, proven: make(chan proof, proofs),
		metrics: metrics{
			inUse: prometheus.NewGaugeVec(prometheus.GaugeOpts{
				Name: "envoke_hosts", Help: "Runtime hosts on other machines that are sent requests.",
			}, []string{"language"}),
			refused: prometheus.NewCounter(prometheus.CounterOpts{
				Name: "envoke_hosts_refused_total", Help: "Times that a host in the directory did not show who it is.",
			}),
			away: prometheus.NewGauge(prometheus.GaugeOpts{
				Name: "envoke_hosts_directory_away", Help: "1 while the directory of hosts does not answer: the last known ones stay in use.",
			}),
			kept: prometheus.NewGauge(prometheus.GaugeOpts{
				Name: "envoke_hosts_kept", Help: "Hosts that the directory lost, without a goodbye, and that stay in use since they answer.",
			}),
		},
	}
	o.Registerer.MustRegister(f.metrics.inUse, f.metrics.refused, f.metrics.away, f.metrics.kept)
	return f
}

// Serve follows the directory until ctx ends.
func (f *Follower) Serve(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	defer f.running.Wait()
	f.look(ctx)
	for {
		f.tell(ctx)
		select {
		case <-ctx.Done():
			return nil
		case p := <-f.proven:
			f.take(p)
			f.ask(ctx, time.Now())
		case <-tick.C:
			f.look(ctx)
		}
	}
}

// look reads the directory.
func (f *Follower) look(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	found, err := f.Directory.List(limited)
	switch {
	case ctx.Err() != nil:
		return
	case err != nil:
		f.metrics.away.Set(1)
		if !f.away {
			f.Logger.Warn("the directory of hosts does not answer; the last known ones stay in use", "hosts", len(f.told), "error", err)
		}
		f.away = true
		return
	case f.away:
		f.Logger.Info("the directory of hosts answers again")
	}
	f.away = false
	f.metrics.away.Set(0)
	now := time.Now()
	f.merge(found, now)
	f.ask(ctx, now)
}

// merge notes what the directory has, and what it has no more.
func (f *Follower) merge(found []faas.Host, now time.Time) {
	there := make(map[*entry]bool, len(found))
	at := make(map[place]bool, len(found))
	for _, host := range found {
		known := f.hosts[identity(host)]
		if known == nil {
			if len(f.hosts) >= maxKnown {
				f.metrics.refused.Inc()
				continue
			}
			known = &entry{}
			f.hosts[identity(host)] = known
		}
		known.host, known.missing, known.failed = host, time.Time{}, 0
		there[known] = true
		if known.inUse || host.Leaving {
			at[place{host.Language, host.Address}] = true
		}
	}
	kept := 0
	for id, known := range f.hosts {
		switch {
		case there[known]:
		case known.missing.IsZero():
			known.missing = now
		case f.gone(known, at, now):
			delete(f.hosts, id)
		case known.inUse && now.Sub(known.missing) > grace:
			kept++
		}
	}
	f.keep(kept)
}

// place is where a host takes requests. Only one can at a time.
type place struct {
	language faas.Language
	address  string
}

// identity is what tells a host from others. One that says something else than before of
// itself is another, which must show who it is; the one before goes on where it answers.
func identity(h faas.Host) faas.Host {
	h.Leaving = false
	return h
}

// gone tells whether a host that the directory does not have can be forgotten. In a Redis that
// is full or read-only no host can say that it is there, so one that said no goodbye goes only
// when it answers nothing either.
func (f *Follower) gone(known *entry, at map[place]bool, now time.Time) bool {
	over := now.Sub(known.missing) > grace
	if !known.inUse || known.host.Leaving {
		return over || len(f.hosts) > maxStrange
	}
	here := place{known.host.Language, known.host.Address}
	if at[here] {
		return true // another is in its place
	}
	if over && known.failed >= failures {
		f.Logger.Info("a host is neither in the directory nor answers: out of use", "host", known.host.Name, "address", known.host.Address)
		return true
	}
	at[here] = true
	return false
}

// keep notes how many hosts are in use that the directory lost.
func (f *Follower) keep(kept int) {
	switch {
	case kept > 0 && f.kept == 0:
		f.Logger.Warn("the directory has lost hosts that said no goodbye; those that answer stay in use: is Redis full, or read-only?", "hosts", kept)
	case kept == 0 && f.kept > 0:
		f.Logger.Info("the directory has all hosts in use again")
	}
	f.kept = kept
	f.metrics.kept.Set(float64(kept))
}

// tell tells of the hosts in use. The first time it waits for all that were found to have
// shown who they are or not: Envoys that know hosts must not hear that there are none.
func (f *Follower) tell(ctx context.Context) {
	now := make([]faas.Host, 0, len(f.hosts))
	for _, known := range f.hosts {
		if known.asked && f.told == nil {
			return
		}
		if known.inUse && !known.host.Leaving {
			now = append(now, known.host)
		}
	}
	if f.told == nil && f.away {
		return
	}
	slices.SortFunc(now, func(a, b faas.Host) int {
		return cmp.Or(cmp.Compare(a.Language, b.Language), cmp.Compare(a.Address, b.Address), cmp.Compare(a.Name, b.Name))
	})
	// A host that was started anew under its address may be there twice for a moment.
	now = slices.CompactFunc(now, func(a, b faas.Host) bool { return a.Language == b.Language && a.Address == b.Address })
	if f.told != nil && slices.Equal(now, f.told) {
		return
	}
	if err := f.Changed(ctx, now); err != nil {
		f.Logger.Error("cannot take the hosts that are there into use", "error", err)
		return
	}
	f.count(now)
	f.told = now
}

func (f *Follower) count(hosts []faas.Host) {
	counts := map[faas.Language]int{}
	for _, host := range slices.Concat(f.told, hosts) {
		counts[host.Language] = 0
	}
	for _, host := range hosts {
		counts[host.Language]++
	}
	for language, n := range counts {
		f.metrics.inUse.WithLabelValues(string(language)).Set(float64(n))
	}
	f.Logger.Info("hosts in use", "count", len(hosts))
}
