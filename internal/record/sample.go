package record

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"envoke/internal/faas"
)

const (
	sampleEvery = time.Minute
	// maxSamples bounds the samples of one host at one time.
	maxSamples = 300
)

// hostMetrics begin the names of what is told of a host.
var hostMetrics = []string{"envoke_pool_", "envoke_host_", "envoke_wasm_", "envoke_rust_", "envoke_layer_", "envoke_rpc_"}

// Sampler tells, each minute, what metrics say: for dashboards that read SQL.
type Sampler struct {
	Gatherer prometheus.Gatherer
	Language faas.Language // of the host; empty: these are caches of control
	Host     string
	Tell     func(faas.Records)
	Logger   *slog.Logger
	Every    time.Duration // 0: a minute

	last map[string]cacheCounts // by cache
}

// Serve tells until ctx ends.
func (s *Sampler) Serve(ctx context.Context) error {
	every := s.Every
	if every == 0 {
		every = sampleEvery
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case at := <-ticker.C:
			families, err := s.Gatherer.Gather()
			if err != nil {
				s.Logger.WarnContext(ctx, "sample metrics", "error", err)
				continue
			}
			if r := s.sample(families, at.UTC().Truncate(time.Microsecond)); r.Len() > 0 {
				s.Tell(r)
			}
		}
	}
}

func (s *Sampler) sample(families []*dto.MetricFamily, at time.Time) faas.Records {
	if s.Language == "" {
		return faas.Records{Caches: s.caches(families, at)}
	}
	return faas.Records{Samples: s.hostSamples(families, at)}
}

// hostSamples are those of the host's language that ever said anything.
func (s *Sampler) hostSamples(families []*dto.MetricFamily, at time.Time) (samples []faas.Sample) {
	add := func(name string, value float64) {
		if value != 0 && len(samples) < maxSamples {
			samples = append(samples, faas.Sample{At: at, Language: s.Language, Host: s.Host, Metric: name, Value: value})
		}
	}
	for _, family := range families {
		if !slices.ContainsFunc(hostMetrics, func(prefix string) bool { return strings.HasPrefix(family.GetName(), prefix) }) {
			continue
		}
		for _, m := range family.GetMetric() {
			labels, ok := s.labelsOf(m)
			switch {
			case !ok:
			case m.GetHistogram() != nil:
				add(family.GetName()+"_count"+labels, float64(m.GetHistogram().GetSampleCount()))
				add(family.GetName()+"_sum"+labels, m.GetHistogram().GetSampleSum())
			default:
				add(family.GetName()+labels, valueOf(m))
			}
		}
	}
	return samples
}

// labelsOf are a metric's labels but its language, as /metrics has them; false: it is of another.
func (s *Sampler) labelsOf(m *dto.Metric) (labels string, ok bool) {
	var all []string
	for _, l := range m.GetLabel() {
		switch {
		case l.GetName() != "language":
			all = append(all, l.GetName()+`="`+l.GetValue()+`"`)
		case l.GetValue() != string(s.Language):
			return "", false
		default:
			ok = true
		}
	}
	if len(all) > 0 {
		labels = "{" + strings.Join(all, ",") + "}"
	}
	return labels, ok
}

func valueOf(m *dto.Metric) float64 {
	return m.GetCounter().GetValue() + m.GetGauge().GetValue() + m.GetUntyped().GetValue()
}

// cache is where a cache's metrics are. Empty families say nothing.
type cache struct {
	name           string
	asked          string // counts questions by outcome
	label, of      string // which of them are this cache's
	hits, misses   []string
	entries, bytes string
}

var caches = []cache{
	{
		name: "results", asked: "envoke_extproc_cache_requests_total", hits: []string{"hit", "waited"}, misses: []string{"miss", "bypassed"},
		entries: "envoke_extproc_cache_entries", bytes: "envoke_extproc_cache_bytes",
	},
	{name: "redis results", asked: "envoke_redis_questions_total", label: "use", of: "results", hits: []string{"hit"}, misses: []string{"miss", "failed", "foreign", "skipped"}},
	{name: "redis sessions", asked: "envoke_redis_questions_total", label: "use", of: "sessions", hits: []string{"hit"}, misses: []string{"miss", "failed", "foreign", "skipped"}},
	{
		name: "sessions", asked: "envoke_registry_lookups_total", label: "kind", of: "session", hits: []string{"memory"}, misses: []string{"found", "missing", "failed"},
		entries: "envoke_registry_sessions",
	},
	{name: "functions", asked: "envoke_registry_lookups_total", label: "kind", of: "function", hits: []string{"memory"}, misses: []string{"found", "missing", "failed"}},
}

type cacheCounts struct{ hits, misses int64 }

// caches are those that were asked since the last time.
func (s *Sampler) caches(families []*dto.MetricFamily, at time.Time) (samples []faas.CacheSample) {
	if s.last == nil {
		s.last = make(map[string]cacheCounts)
	}
	byName := make(map[string]*dto.MetricFamily, len(families))
	for _, family := range families {
		byName[family.GetName()] = family
	}
	for _, c := range caches {
		now := c.counts(byName[c.asked])
		before := s.last[c.name]
		s.last[c.name] = now
		if now == before {
			continue
		}
		samples = append(samples, faas.CacheSample{
			At: at, Cache: c.name, Host: s.Host, Hits: now.hits - before.hits, Misses: now.misses - before.misses,
			Entries: total(byName[c.entries]), Bytes: total(byName[c.bytes]),
		})
	}
	return samples
}

func (c *cache) counts(asked *dto.MetricFamily) (n cacheCounts) {
	for _, m := range asked.GetMetric() {
		outcome, mine := "", c.label == ""
		for _, l := range m.GetLabel() {
			switch l.GetName() {
			case "outcome":
				outcome = l.GetValue()
			case c.label:
				mine = l.GetValue() == c.of
			}
		}
		switch {
		case !mine:
		case slices.Contains(c.hits, outcome):
			n.hits += int64(valueOf(m))
		case slices.Contains(c.misses, outcome):
			n.misses += int64(valueOf(m))
		}
	}
	return n
}

func total(family *dto.MetricFamily) (n int64) {
	for _, m := range family.GetMetric() {
		n += int64(valueOf(m))
	}
	return n
}
