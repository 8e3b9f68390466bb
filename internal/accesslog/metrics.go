package accesslog

import (
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"envoke/internal/faas"
)

type metrics struct {
	requests  *prometheus.CounterVec
	duration  *prometheus.HistogramVec
	cached    *prometheus.CounterVec
	rows      prometheus.Counter
	malformed prometheus.Counter
	deleted   prometheus.Counter
	dropped   prometheus.Counter
	lag       prometheus.Gauge

	filterFailures prometheus.Counter
}

func newMetrics(registerer prometheus.Registerer) metrics {
	with := promauto.With(registerer)
	return metrics{
		requests: with.NewCounterVec(prometheus.CounterOpts{
			Name: "envoke_requests_total",
			Help: "Requests that Envoy answered, by operation and status code (0: the client left first).",
		}, []string{"operation", "code"}),
		duration: with.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "envoke_request_duration_seconds",
			Help:    "Time from the first byte of a request to the last of its answer, at Envoy.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}, []string{"operation"}),
		cached: with.NewCounterVec(prometheus.CounterOpts{
			Name: "envoke_cached_requests_total",
			Help: "Requests that were answered with a cached result, in the filter or by ext_proc, by operation. envoke_requests_total counts them too.",
		}, []string{"operation"}),
		rows: with.NewCounter(prometheus.CounterOpts{
			Name: "envoke_accesslog_rows_total",
			Help: "Lines of Envoy's access log that were stored.",
		}),
		malformed: with.NewCounter(prometheus.CounterOpts{
			Name: "envoke_accesslog_malformed_lines_total",
			Help: "Lines of Envoy's access log that were skipped.",
		}),
		deleted: with.NewCounter(prometheus.CounterOpts{
			Name: "envoke_accesslog_deleted_files_total",
			Help: "Files of Envoy's access log that somebody deleted while they were in use.",
		}),
		dropped: with.NewCounter(prometheus.CounterOpts{
			Name: "envoke_accesslog_dropped_bytes_total",
			Help: "Bytes of Envoy's access log that were deleted unread, since the store was away for too long.",
		}),
		lag: with.NewGauge(prometheus.GaugeOpts{
			Name: "envoke_accesslog_lag_bytes",
			Help: "Bytes of Envoy's access log that are not stored yet.",
		}),
		filterFailures: with.NewCounter(prometheus.CounterOpts{
			Name: "envoke_filter_failures_total",
			Help: "Requests that were lost because the filter in Envoy trapped. envoke_requests_total counts them too.",
		}),
	}
}

// kind is what requests have in common that are counted together.
type kind struct {
	operation faas.Operation
	status    int
	cached    bool
}

// tally is how many of a kind a batch has.
type tally struct {
	kind
	duration prometheus.Observer
	rows     float64
}

// count looks the metrics of a kind up once for all its rows, which would be most of its cost.
func (m metrics) count(rows []faas.RequestLog, malformed int) {
	tallies := make(map[kind]*tally)
	last := &tally{} // of no kind that there is
	for i := range rows {
		k := kind{rows[i].Operation, rows[i].StatusCode, rows[i].Cached}
		if k != last.kind {
			if last = tallies[k]; last == nil {
				last = &tally{kind: k, duration: m.duration.WithLabelValues(label(k.operation))}
				tallies[k] = last
			}
		}
		last.duration.Observe(rows[i].Duration.Seconds())
		last.rows++
	}
	for _, t := range tallies {
		m.requests.WithLabelValues(label(t.operation), strconv.Itoa(t.status)).Add(t.rows)
		if t.cached {
			m.cached.WithLabelValues(label(t.operation)).Add(t.rows)
		}
	}
	m.rows.Add(float64(len(rows)))
	m.malformed.Add(float64(malformed))
}

// label is the operation as a metric keeps it: a part of a batch's text would keep all of it.
func label(o faas.Operation) string { return strings.Clone(string(o)) }
