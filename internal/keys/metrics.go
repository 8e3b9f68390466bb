package keys

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	memory, store, stale, admin                                  prometheus.Counter // verified
	malformed, unknown, expired, revoked, throttled, unavailable prometheus.Counter // refused
	usesStored, usesDropped, heard                               prometheus.Counter
}

func newMetrics(registerer prometheus.Registerer, k *Keys) *metrics {
	with := promauto.With(registerer)
	verified := with.NewCounterVec(prometheus.CounterOpts{
		Name: "envoke_keys_verified_total",
		Help: "API keys that were accepted, by where they were known from: memory, store, stale (memory, since the store is away), or admin (ADMIN_KEY).",
	}, []string{"source"})
	refused := with.NewCounterVec(prometheus.CounterOpts{
		Name: "envoke_keys_refused_total",
		Help: "API keys that were not accepted, by the reason.",
	}, []string{"reason"})
	counter := func(name, help string) prometheus.Counter {
		return with.NewCounter(prometheus.CounterOpts{Name: "envoke_keys_" + name, Help: help})
	}
	with.NewGaugeFunc(prometheus.GaugeOpts{Name: "envoke_keys_remembered", Help: "API keys that are remembered."},
		func() float64 { return float64(k.known.Len()) })
	return &metrics{
		memory: verified.WithLabelValues("memory"), store: verified.WithLabelValues("store"),
		stale: verified.WithLabelValues("stale"), admin: verified.WithLabelValues("admin"),
		malformed: refused.WithLabelValues("malformed"), unknown: refused.WithLabelValues("unknown"),
		expired: refused.WithLabelValues("expired"), revoked: refused.WithLabelValues("revoked"),
		throttled: refused.WithLabelValues("throttled"), unavailable: refused.WithLabelValues("unavailable"),
		usesStored:  counter("uses_stored_total", "Times of last use that were stored."),
		usesDropped: counter("uses_dropped_total", "Times of last use that were forgotten, since too many wait for the store."),
		heard:       counter("changes_heard_total", "API keys that some control has revoked or changed, as the store told."),
	}
}
