package bundle

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	sessions, functions lookups
	revoked, changed    prometheus.Counter
	changedSecrets      prometheus.Counter
}

// lookups count questions of one kind by outcome: held (served from memory),
// fetched and verified (control vouched), unverified (served without control),
// missing, forged, failed.
type lookups struct {
	held, fetched, verified, unverified, missing, forged, failed prometheus.Counter
}

func newLookups(v *prometheus.CounterVec, kind string) lookups {
	return lookups{
		held:       v.WithLabelValues(kind, "held"),
		fetched:    v.WithLabelValues(kind, "fetched"),
		verified:   v.WithLabelValues(kind, "verified"),
		unverified: v.WithLabelValues(kind, "unverified"),
		missing:    v.WithLabelValues(kind, "missing"),
		forged:     v.WithLabelValues(kind, "forged"),
		failed:     v.WithLabelValues(kind, "failed"),
	}
}

func newMetrics(registerer prometheus.Registerer, b *Bundles) *metrics {
	asked := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "envoke_bundle_lookups_total", Help: "Sessions and functions asked for, by how they were found.",
	}, []string{"kind", "outcome"})
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "envoke_bundle_" + name, Help: help})
	}
	m := &metrics{
		sessions:  newLookups(asked, "session"),
		functions: newLookups(asked, "function"),
		revoked:   counter("revocations_total", "Revocations heard from control."),
		changed:   counter("changes_total", "Changes of functions heard from control."),

		changedSecrets: counter("secret_changes_total", "Changes of secrets heard from control."),
	}
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "envoke_bundle_" + name, Help: help}, value)
	}
	// Several hosts may share one process and its registry.
	registerer = prometheus.WrapRegistererWith(prometheus.Labels{"language": string(b.language)}, registerer)
	registerer.MustRegister(asked, m.revoked, m.changed, m.changedSecrets,
		gauge("sessions", "Sessions held.", func() float64 { return float64(b.sessions.Len()) }),
		gauge("functions", "Functions held, each by name, version and alias.", func() float64 { return float64(b.functions.Len()) }),
		gauge("held_bytes", "Code and contexts held.", func() float64 { return float64(b.sessions.Size() + b.scripts.Size()) }),
		gauge("control_alive", "1 while control is heard, else 0.", func() float64 {
			if b.trust.alive(time.Now()) {
				return 1
			}
			return 0
		}))
	return m
}
