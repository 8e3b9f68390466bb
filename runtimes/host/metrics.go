package host

import (
	"github.com/prometheus/client_golang/prometheus"

	"envoke/internal/faas"
)

// measureBuilds counts the builds that their initialize has not waited for.
func measureBuilds(registerer prometheus.Registerer, language faas.Language, count func() float64) {
	registerer.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name:        "envoke_host_pending_builds",
		Help:        "Builds of sessions' code that go on after their initialize was answered.",
		ConstLabels: prometheus.Labels{"language": string(language)},
	}, count))
}

// measureCalls tells how many calls are under way.
func measureCalls(registerer prometheus.Registerer, language faas.Language, count func() float64) {
	registerer.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name:        "envoke_host_calls",
		Help:        "Calls of functions that run or wait for their turn; of a stream only until its first part.",
		ConstLabels: prometheus.Labels{"language": string(language)},
	}, count))
}

// measureGates counts the calls of functions with a limit of calls at once that were refused.
func measureGates(registerer prometheus.Registerer, language faas.Language) func() {
	refused := prometheus.NewCounter(prometheus.CounterOpts{
		Name:        "envoke_host_refused_total",
		Help:        "Calls of functions with a limit of calls at once (max_concurrency, retain_session) that were answered 429, since more came than it could serve.",
		ConstLabels: prometheus.Labels{"language": string(language)},
	})
	registerer.MustRegister(refused)
	return refused.Inc
}

// stages tells where an execute's time goes inside the host.
type stages struct{ read, session, load, run, write stage }

// stage is one part of an execute.
type stage struct{ seconds prometheus.Observer }

func newStages(registerer prometheus.Registerer, language faas.Language) stages {
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:        "envoke_host_stage_duration_seconds",
		Help:        "Time of one call by stage: read the body, find the session or function, make a session (load), run the function (queue and load included), write the reply.",
		ConstLabels: prometheus.Labels{"language": string(language)},
		Buckets:     prometheus.ExponentialBuckets(1e-5, 4, 11),
	}, []string{"stage"})
	registerer.MustRegister(seconds)
	of := func(name string) stage { return stage{seconds.WithLabelValues(name)} }
	return stages{read: of("read"), session: of("session"), load: of("load"), run: of("run"), write: of("write")}
}
