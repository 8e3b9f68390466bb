package wasm

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"envoke/runtimes/pool"
)

type metrics struct {
	compiles   *prometheus.CounterVec
	seconds    *prometheus.HistogramVec
	refused    prometheus.Counter
	reruns     prometheus.Counter
	logDropped prometheus.Counter
	queueWait  prometheus.Histogram
}

// newMetrics registers the engine's metrics, unless the registerer is nil.
func newMetrics(registerer prometheus.Registerer, stats func() pool.Stats) *metrics {
	m := &metrics{
		compiles: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "envoke_wasm_compiles_total", Help: "Modules that were loaded for the interpreter or compiled to machine code, by outcome; late: after the deadline.",
		}, []string{"outcome"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "envoke_wasm_compile_seconds", Help: "Time to load a module for the interpreter, and to compile it to machine code.",
			Buckets: []float64{.001, .003, .01, .03, .1, .3, 1, 3, 10, 30},
		}, []string{"tier"}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "envoke_wasm_refused_total", Help: "Calls that were answered 429.",
		}),
		reruns: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "envoke_wasm_reruns_total", Help: "Calls that began in the interpreter and again with machine code.",
		}),
		logDropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "envoke_wasm_log_dropped_bytes_total", Help: "Bytes that functions printed over the limits.",
		}),
		queueWait: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "envoke_wasm_queue_wait_seconds", Help: "Wait of those calls that had to wait for their turn.",
			Buckets: []float64{.001, .003, .01, .03, .1, .3, 1, 3, 10, 30},
		}),
	}
	if registerer == nil {
		return m
	}
	registerer.MustRegister(m.compiles, m.seconds, m.refused, m.reruns, m.logDropped, m.queueWait,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "envoke_wasm_modules", Help: "Modules held.",
		}, func() float64 { return float64(stats().Loaded) }))
	return m
}

// observe counts the work of one tier on one module.
func (m *metrics) observe(t tier, started time.Time, err error) {
	m.seconds.WithLabelValues(string(t)).Observe(time.Since(started).Seconds())
	outcome := "ok"
	if err != nil {
		outcome = "refused"
	}
	m.compiles.WithLabelValues(outcome).Inc()
}
