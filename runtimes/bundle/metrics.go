package bundle

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics count lookups by outcome: held (served from memory), fetched and
// verified (control vouched), unverified (served without control), missing,
// forged, failed.
type metrics struct {
	held, fetched, verified, unverified, missing, forged, failed prometheus.Counter

	revoked prometheus.Counter
}

func newMetrics(registerer prometheus.Registerer, b *Bundles) *metrics {
	lookups := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "envoke_bundle_lookups_total", Help: "Sessions asked for, by how they were found.",
	}, []string{"outcome"})
	m := &metrics{
		held:       lookups.WithLabelValues("held"),
		fetched:    lookups.WithLabelValues("fetched"),
		verified:   lookups.WithLabelValues("verified"),
		unverified: lookups.WithLabelValues("unverified"),
		missing:    lookups.WithLabelValues("missing"),
		forged:     lookups.WithLabelValues("forged"),
		failed:     lookups.WithLabelValues("failed"),
		revoked: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "envoke_bundle_revocations_total", Help: "Revocations heard from control.",
		}),
	}
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "envoke_bundle_" + name, Help: help}, value)
	}
	// Several hosts may share one process and its registry.
	registerer = prometheus.WrapRegistererWith(prometheus.Labels{"language": string(b.language)}, registerer)
	registerer.MustRegister(lookups, m.revoked,
		gauge("sessions", "Sessions held.", func() float64 { return float64(b.sessions.Len()) }),
		gauge("held_bytes", "Code and contexts held.", func() float64 { return float64(b.sessions.Size() + b.scripts.Size()) }),
		gauge("control_alive", "1 while control is heard, else 0.", func() float64 {
			if b.trust.alive(time.Now()) {
				return 1
			}
			return 0
		}))
	return m
}
