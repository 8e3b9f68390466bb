package registry

import (
	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	sessions    lookups
	functions   lookups
	revocations prometheus.Counter
	missedAcks  prometheus.Counter
	fellBehind  prometheus.Counter
	heard       prometheus.Counter
	recorded    *prometheus.CounterVec
}

// lookups count how questions of one kind were answered.
type lookups struct {
	memory, forged, found, missing, failed prometheus.Counter
	stale                                  prometheus.Counter // of those found: as it was known, since the store is away
}

func newMetrics(registerer prometheus.Registerer, r *Registry) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "envoke_registry_" + name, Help: help})
	}
	gauge := func(name, help string, value func() int) prometheus.Collector {
		opts := prometheus.GaugeOpts{Name: "envoke_registry_" + name, Help: help}
		return prometheus.NewGaugeFunc(opts, func() float64 { return float64(value()) })
	}
	answered := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "envoke_registry_lookups_total",
		Help: "Questions for sessions and functions by how they were answered.",
	}, []string{"kind", "outcome"})
	m := &metrics{
		sessions:    newLookups(answered, "session"),
		functions:   newLookups(answered, "function"),
		revocations: counter("revocations_total", "Sessions deleted on request."),
		missedAcks:  counter("missed_acks_total", "Hosts that did not acknowledge a revocation or a change in time."),
		fellBehind:  counter("hosts_fell_behind_total", "Watches ended because the host did not keep up."),
		heard:       counter("changes_heard_total", "Changes of functions and sessions, by any control, that the store told of."),
	}
	m.recorded = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "envoke_registry_records_total",
		Help: "Records of failed requests (failure) and of payloads (exchange) that hosts told of and that are stored.",
	}, []string{"kind"})
	registerer.MustRegister(m.recorded, answered, m.revocations, m.missedAcks, m.fellBehind, m.heard,
		gauge("sessions", "Sessions remembered, not-founds included.", func() int { return r.sessions.Len() }),
		gauge("hosts", "Runtime hosts that watch.", func() int { return r.hosts.count() }))
	return m
}

func newLookups(v *prometheus.CounterVec, kind string) lookups {
	return lookups{
		memory:  v.WithLabelValues(kind, "memory"),
		forged:  v.WithLabelValues(kind, "forged"),
		found:   v.WithLabelValues(kind, "found"),
		missing: v.WithLabelValues(kind, "missing"),
		failed:  v.WithLabelValues(kind, "failed"),
		stale:   v.WithLabelValues(kind, "stale"),
	}
}

// asked counts a question that went past memory.
func (l lookups) asked(missing, failed error) {
	switch {
	case failed != nil:
		l.failed.Inc()
	case missing != nil:
		l.missing.Inc()
	default:
		l.found.Inc()
	}
}
