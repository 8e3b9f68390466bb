package extproc

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"envoke/internal/faas"
)

type metrics struct {
	streams  prometheus.Gauge
	requests *prometheus.CounterVec
	duration map[faas.Operation]prometheus.Observer
}

func newMetrics(registerer prometheus.Registerer) *metrics {
	m := &metrics{
		streams: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "envoke_extproc_streams", Help: "Requests that Envoy is asking about.",
		}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "envoke_extproc_requests_total",
			Help: "Requests decided, by operation and outcome: passed, refused (4xx) or failed (5xx).",
		}, []string{"operation", "outcome"}),
		duration: make(map[faas.Operation]prometheus.Observer),
	}
	duration := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "envoke_extproc_duration_seconds",
		Help:    "From a request's headers to the answer.",
		Buckets: prometheus.ExponentialBuckets(10e-6, 4, 9), // 10 µs to 0.7 s
	}, []string{"operation"})
	for _, entry := range api {
		m.duration[entry.operation] = duration.WithLabelValues(string(entry.operation))
	}
	m.duration[faas.OtherOperation] = duration.WithLabelValues(string(faas.OtherOperation))
	registerer.MustRegister(m.streams, m.requests, duration)
	return m
}

func (m *metrics) observe(operation faas.Operation, err error, took time.Duration) {
	m.requests.WithLabelValues(string(operation), outcome(err)).Inc()
	m.duration[operation].Observe(took.Seconds())
}

func outcome(err error) string {
	switch {
	case err == nil:
		return "passed"
	case faas.AsError(err).HTTPStatus() < 500:
		return "refused"
	default:
		return "failed"
	}
}
