package rust

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"envoke/internal/faas"
)

type metrics struct {
	builds  *prometheus.CounterVec
	seconds prometheus.Histogram
	hits    prometheus.Counter
	shared  prometheus.Counter
	refused prometheus.Counter
}

// newMetrics registers the builder's metrics, unless the registerer is nil.
func newMetrics(registerer prometheus.Registerer, waiting func() float64) *metrics {
	m := &metrics{
		builds: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "envoke_rust_builds_total", Help: "Builds of Rust source, by outcome; refused: it does not compile within the limits, failed: the compiler could not be run.",
		}, []string{"outcome"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "envoke_rust_build_seconds", Help: "Time of builds, without their wait.",
			Buckets: []float64{.1, .3, 1, 3, 10, 30, 100},
		}),
		hits: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "envoke_rust_cache_hits_total", Help: "Sources whose module was found on disk.",
		}),
		shared: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "envoke_rust_shared_modules_total", Help: "Sources whose module another host had built.",
		}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "envoke_rust_refused_total", Help: "Builds that were answered 429.",
		}),
	}
	if registerer == nil {
		return m
	}
	registerer.MustRegister(m.builds, m.seconds, m.hits, m.shared, m.refused, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "envoke_rust_builds_waiting", Help: "Builds that wait for their turn.",
	}, waiting))
	return m
}

func (m *metrics) observe(started time.Time, err error) {
	m.seconds.Observe(time.Since(started).Seconds())
	outcome := "ok"
	var known *faas.Error
	if errors.As(err, &known) {
		outcome = "failed"
		if known.Code == faas.InitializationError {
			outcome = "refused"
		}
	}
	m.builds.WithLabelValues(outcome).Inc()
}
