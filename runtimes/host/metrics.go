package host

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"envoke/internal/faas"
)

// stages tells where an execute's time goes inside the host.
type stages struct{ read, session, run, write stage }

// stage is one part of an execute.
type stage struct{ seconds prometheus.Observer }

// since records the time from start to now, which it returns.
func (s stage) since(start time.Time) time.Time {
	now := time.Now()
	s.seconds.Observe(now.Sub(start).Seconds())
	return now
}

func newStages(registerer prometheus.Registerer, language faas.Language) stages {
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:        "envoke_host_stage_duration_seconds",
		Help:        "Time of one execute by stage: read the body, find the session, run the function (queue and load included), write the reply.",
		ConstLabels: prometheus.Labels{"language": string(language)},
		Buckets:     prometheus.ExponentialBuckets(1e-5, 4, 11),
	}, []string{"stage"})
	registerer.MustRegister(seconds)
	of := func(name string) stage { return stage{seconds.WithLabelValues(name)} }
	return stages{read: of("read"), session: of("session"), run: of("run"), write: of("write")}
}
