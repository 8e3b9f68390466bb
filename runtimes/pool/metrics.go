package pool

import (
	"github.com/prometheus/client_golang/prometheus"

	"envoke/internal/faas"
)

type metrics struct {
	coldStarts prometheus.Counter
	claims     prometheus.Counter
	refused    refusals
	evictions  prometheus.Counter
	pressure   prometheus.Counter
	logDropped prometheus.Counter
	streams    prometheus.Counter
	cancelled  prometheus.Counter
	kills      *prometheus.CounterVec
	queueWait  prometheus.Histogram
}

// refusals are the calls that were answered 429, by the reason.
type refusals struct {
	all *prometheus.CounterVec

	// overload: more calls of a function came than it could serve, or could wait. noWorker:
	// too many functions, or none came free in time.
	overload, noWorker prometheus.Counter
}

func newRefusals(labels prometheus.Labels) refusals {
	all := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "envoke_pool_refused_total", Help: "Calls that were answered 429, by the reason: more came of a function than it could serve (overload), or no worker came free (no_worker).", ConstLabels: labels,
	}, []string{"reason"})
	return refusals{all: all, overload: all.WithLabelValues("overload"), noWorker: all.WithLabelValues("no_worker")}
}

// newMetrics registers the metrics of one language's pool, unless the registerer is
// nil. Workers by state are asked for when they are read.
func newMetrics(registerer prometheus.Registerer, language faas.Language, stats func() Stats) *metrics {
	labels := prometheus.Labels{"language": string(language)}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "envoke_pool_" + name, Help: help, ConstLabels: labels})
	}
	m := &metrics{
		coldStarts: counter("cold_starts_total", "Worker processes that were started and became ready."),
		claims:     counter("claims_total", "Generic workers that were given to a function."),
		refused:    newRefusals(labels),
		evictions:  counter("evictions_total", "Workers without calls that were ended for others' sake."),
		pressure:   counter("pressure_evictions_total", "Workers without calls that were ended because the machine was short of memory; evictions_total has them too."),
		logDropped: counter("log_dropped_bytes_total", "Bytes that functions printed over the limits."),
		streams:    counter("streams_total", "Results that came in parts."),
		cancelled:  counter("streams_cancelled_total", "Streams whose reader wanted no more before their end."),
		kills: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "envoke_pool_kills_total", Help: "Workers that the host killed, by reason.", ConstLabels: labels,
		}, []string{"reason"}),
		queueWait: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "envoke_pool_queue_wait_seconds", Help: "Wait of those calls that had to wait for a worker or its turn.",
			ConstLabels: labels, Buckets: []float64{.001, .003, .01, .03, .1, .3, 1, 3, 10, 30},
		}),
	}
	if registerer == nil {
		return m
	}
	registerer.MustRegister(m.coldStarts, m.claims, m.refused.all, m.evictions, m.pressure, m.logDropped, m.streams, m.cancelled, m.kills, m.queueWait)
	for state, count := range map[string]func(Stats) int{
		"starting": func(s Stats) int { return s.Starting },
		"ready":    func(s Stats) int { return s.Ready },
		"loaded":   func(s Stats) int { return s.Loaded },
	} {
		registerer.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "envoke_pool_workers", Help: "Worker processes by state.",
			ConstLabels: prometheus.Labels{"language": string(language), "state": state},
		}, func() float64 { return float64(count(stats())) }))
	}
	return m
}
