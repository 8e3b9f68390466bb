package extproc

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"envoke/internal/faas"
	"envoke/internal/resultcache"
)

type metrics struct {
	streams  prometheus.Gauge
	requests *prometheus.CounterVec
	duration map[faas.Operation]prometheus.Observer
	cache    cacheMetrics
}

// cacheMetrics count what the cache was asked for.
type cacheMetrics struct{ hits, waited, misses, bypassed prometheus.Counter }

func newMetrics(registerer prometheus.Registerer, cache *resultcache.Cache) *metrics {
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
	m.cache = newCacheMetrics(registerer, cache)
	return m
}

func newCacheMetrics(registerer prometheus.Registerer, cache *resultcache.Cache) cacheMetrics {
	asked := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "envoke_extproc_cache_requests_total",
		Help: "Requests whose result may be cached: answered from the cache (hit), with the result of a call under way (waited), run (miss), or run because their body is too large to be looked up (bypassed).",
	}, []string{"outcome"})
	registerer.MustRegister(asked)
	if cache != nil {
		registerGauges(registerer, cache)
	}
	return cacheMetrics{
		hits: asked.WithLabelValues("hit"), waited: asked.WithLabelValues("waited"),
		misses: asked.WithLabelValues("miss"), bypassed: asked.WithLabelValues("bypassed"),
	}
}

func registerGauges(registerer prometheus.Registerer, cache *resultcache.Cache) {
	with := promauto.With(registerer)
	with.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "envoke_extproc_cache_bytes", Help: "What the cached results take in memory.",
	}, func() float64 { return float64(cache.Stats().Bytes) })
	with.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "envoke_extproc_cache_entries", Help: "Results that are cached.",
	}, func() float64 { return float64(cache.Stats().Entries) })
	with.NewCounterFunc(prometheus.CounterOpts{
		Name: "envoke_extproc_cache_evictions_total", Help: "Results that went for want of room.",
	}, func() float64 { return float64(cache.Stats().Evicted) })
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
