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
	// grace is for how long a host stays that is not in the directory any more: a Redis that
	// was started anew knows no host until each has said that it is there.
	grace = 2 * again

	// proofTimeout bounds what a host may take to show who it is, proofs how many do so at
	// once, and proofPause is when one is asked again that did not.
	proofTimeout = 2 * time.Second
	proofs       = 16
	proofPause   = time.Second
)

// Directory is where hosts say that they are there.
type Directory interface {
	List(context.Context) ([]faas.Host, error)
}

// Options make a Follower. All are required.
type Options struct {
	Directory Directory
	// Prove has a host show that it is what the directory says. Its error is logged.
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
	hosts   map[string]*entry // by name
	proven  chan proof
	running sync.WaitGroup
	told    []faas.Host // nil: nothing yet
	away    bool        // the directory did not answer, and the log says so
}

// entry is a host that the directory has or had lately.
type entry struct {
	host    faas.Host
	inUse   bool // it has shown who it is
	asked   bool // it is being asked
	failed  time.Time
	missing time.Time // since when the directory does not have it; zero: it does
}

type proof struct {
	host faas.Host
	err  error
}

type metrics struct {
	inUse   *prometheus.GaugeVec
	refused prometheus.Counter
	away    prometheus.Gauge
}

// New makes a follower.
func New(o Options) *Follower {
	f := &Follower{
		Options: o, hosts: map[string]*entry{}, proven: make(chan proof, proofs),
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
		},
	}
	o.Registerer.MustRegister(f.metrics.inUse, f.metrics.refused, f.metrics.away)
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
	there := make(map[string]bool, len(found))
	for _, host := range found {
		there[host.Name] = true
		known := f.hosts[host.Name]
		if known == nil || !same(known.host, host) {
			known = &entry{}
			f.hosts[host.Name] = known
		}
		known.host, known.missing = host, time.Time{}
	}
	for name, known := range f.hosts {
		switch {
		case there[name]:
		case known.missing.IsZero():
			known.missing = now
		case now.Sub(known.missing) > grace:
			delete(f.hosts, name)
		}
	}
}

// same tells whether a host need not show anew who it is.
func same(a, b faas.Host) bool {
	a.Leaving, b.Leaving = false, false
	return a == b
}

// ask has those show who they are that have not.
func (f *Follower) ask(ctx context.Context, now time.Time) {
	asked := 0
	for _, known := range f.hosts {
		if known.asked {
			asked++
		}
	}
	for _, known := range f.hosts {
		if asked >= proofs {
			return
		}
		if known.inUse || known.asked || known.host.Leaving || !known.missing.IsZero() || now.Sub(known.failed) < proofPause {
			continue
		}
		known.asked = true
		asked++
		host := known.host
		f.running.Go(func() {
			limited, cancel := context.WithTimeout(ctx, proofTimeout)
			defer cancel()
			select {
			case f.proven <- proof{host, f.Prove(limited, host)}:
			case <-ctx.Done():
			}
		})
	}
}

func (f *Follower) take(p proof) {
	known := f.hosts[p.host.Name]
	if known == nil || !same(known.host, p.host) {
		return // it is another by now
	}
	known.asked, known.inUse = false, p.err == nil
	if p.err == nil {
		return
	}
	f.metrics.refused.Inc()
	level := slog.LevelDebug
	if known.failed.IsZero() {
		level = slog.LevelWarn
	}
	known.failed = time.Now()
	f.Logger.Log(context.Background(), level, "a host that says it is there did not show who it is",
		"host", p.host.Name, "address", p.host.Address, "language", string(p.host.Language), "error", p.err)
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
