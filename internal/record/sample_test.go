package record

import (
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"envoke/internal/faas"
	"envoke/internal/testrig"
)

var at = time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC)

func gather(t *testing.T, s *Sampler, registry *prometheus.Registry) faas.Records {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	return s.sample(families, at)
}

func TestSamplesOfAHost(t *testing.T) {
	registry := prometheus.NewRegistry()
	with := promauto.With(registry)
	workers := with.NewGaugeVec(prometheus.GaugeOpts{Name: "envoke_pool_workers", Help: "x"}, []string{"language", "state"})
	workers.WithLabelValues("nodejs", "idle").Set(2)
	workers.WithLabelValues("nodejs", "busy").Set(0)
	workers.WithLabelValues("python", "idle").Set(3)
	with.NewHistogramVec(prometheus.HistogramOpts{Name: "envoke_host_stage_duration_seconds", Help: "x"}, []string{"language"}).WithLabelValues("nodejs").Observe(1.5)
	with.NewCounter(prometheus.CounterOpts{Name: "envoke_pool_of_no_language_total", Help: "x"}).Inc()
	with.NewCounterVec(prometheus.CounterOpts{Name: "envoke_extproc_x_total", Help: "x"}, []string{"language"}).WithLabelValues("nodejs").Inc()
	s := &Sampler{Language: faas.NodeJS, Host: "h"}
	sample := func(metric string, value float64) faas.Sample {
		return faas.Sample{At: at, Language: faas.NodeJS, Host: "h", Metric: metric, Value: value}
	}
	want := faas.Records{Samples: []faas.Sample{
		sample("envoke_host_stage_duration_seconds_count", 1), sample("envoke_host_stage_duration_seconds_sum", 1.5),
		sample(`envoke_pool_workers{state="idle"}`, 2),
	}}
	if diff := cmp.Diff(want, gather(t, s, registry)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestSamplesOfCaches count what was asked since the last ones.
func TestSamplesOfCaches(t *testing.T) {
	registry := prometheus.NewRegistry()
	with := promauto.With(registry)
	results := with.NewCounterVec(prometheus.CounterOpts{Name: "envoke_extproc_cache_requests_total", Help: "x"}, []string{"outcome"})
	lookups := with.NewCounterVec(prometheus.CounterOpts{Name: "envoke_registry_lookups_total", Help: "x"}, []string{"kind", "outcome"})
	with.NewGauge(prometheus.GaugeOpts{Name: "envoke_extproc_cache_bytes", Help: "x"}).Set(1000)
	s := &Sampler{Host: "c"}
	for _, step := range []struct {
		do   func()
		want []faas.CacheSample
	}{
		{func() {}, nil},
		{
			func() {
				results.WithLabelValues("hit").Add(5)
				results.WithLabelValues("waited").Add(2)
				results.WithLabelValues("miss").Inc()
			},
			[]faas.CacheSample{{At: at, Cache: "results", Host: "c", Hits: 7, Misses: 1, Bytes: 1000}},
		},
		{func() {}, nil},
		{
			func() {
				results.WithLabelValues("hit").Inc()
				lookups.WithLabelValues("session", "memory").Inc()
				lookups.WithLabelValues("function", "found").Inc()
			},
			[]faas.CacheSample{
				{At: at, Cache: "results", Host: "c", Hits: 1, Bytes: 1000}, {At: at, Cache: "sessions", Host: "c", Hits: 1}, {At: at, Cache: "functions", Host: "c", Misses: 1},
			},
		},
	} {
		step.do()
		if diff := cmp.Diff(faas.Records{Caches: step.want}, gather(t, s, registry)); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}
}

func TestSamplesAreToldAgainAndAgain(t *testing.T) {
	registry := prometheus.NewRegistry()
	promauto.With(registry).NewGaugeVec(prometheus.GaugeOpts{Name: "envoke_pool_workers", Help: "x"}, []string{"language"}).WithLabelValues("nodejs").Set(1)
	told := make(chan faas.Records, 10)
	s := &Sampler{
		Gatherer: registry, Language: faas.NodeJS, Every: time.Millisecond, Logger: slog.New(slog.DiscardHandler),
		Tell: func(r faas.Records) {
			select {
			case told <- r:
			default:
			}
		},
	}
	testrig.Serve(t, s.Serve)
	for range 2 {
		if r := <-told; r.Len() != 1 || time.Since(r.Samples[0].At) > time.Minute {
			t.Errorf("%+v", r)
		}
	}
}
