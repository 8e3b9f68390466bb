package hook

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"envoke/internal/faas"
)

// outcome is what became of a hook.
type outcome string

const (
	passed   outcome = "passed"
	changed  outcome = "changed"
	answered outcome = "answered"
	opened   outcome = "opened"  // it failed, and the request went on
	refused  outcome = "refused" // it failed, and the request was refused
	gone     outcome = "gone"    // nobody waited for it any more
)

type metrics map[faas.Phase]phaseMetrics

type phaseMetrics struct {
	hooks   map[outcome]prometheus.Counter
	seconds prometheus.Observer
}

func newMetrics(registerer prometheus.Registerer, language faas.Language) metrics {
	labels := prometheus.Labels{"language": string(language)}
	hooks := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name:        "envoke_hook_requests_total",
		Help:        "Requests and responses that a hook was asked about, by phase and outcome: passed, changed, answered by the hook, opened (the hook failed, and the request went on), refused (it failed, and the request with it) or gone (the caller went away).",
		ConstLabels: labels,
	}, []string{"phase", "outcome"})
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:        "envoke_hook_duration_seconds",
		Help:        "From Envoy's question about a request or response to the hook's answer.",
		ConstLabels: labels,
		Buckets:     prometheus.ExponentialBuckets(50e-6, 4, 10), // 50 µs to 13 s
	}, []string{"phase"})
	registerer.MustRegister(hooks, seconds)
	m := metrics{}
	for _, phase := range []faas.Phase{faas.RequestPhase, faas.ResponsePhase} {
		of := phaseMetrics{hooks: map[outcome]prometheus.Counter{}, seconds: seconds.WithLabelValues(string(phase))}
		for _, o := range []outcome{passed, changed, answered, opened, refused, gone} {
			of.hooks[o] = hooks.WithLabelValues(string(phase), string(o))
		}
		m[phase] = of
	}
	return m
}

func (m metrics) observe(phase faas.Phase, o outcome, began time.Time) {
	m[phase].hooks[o].Inc()
	m[phase].seconds.Observe(time.Since(began).Seconds())
}
