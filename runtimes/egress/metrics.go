package egress

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	requests *prometheus.CounterVec
	refused  *prometheus.CounterVec
	in, out  prometheus.Counter
	connect  prometheus.Histogram
}

// newMetrics registers the proxy's metrics, unless the registerer is nil.
func newMetrics(registerer prometheus.Registerer, p *Proxy) *metrics {
	bytes := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "envoke_egress_bytes_total", Help: "Bytes of functions' connections that have ended, by direction.",
	}, []string{"direction"})
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "envoke_egress_requests_total", Help: "Connections that functions asked for, by outcome.",
		}, []string{"outcome"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "envoke_egress_refused_total", Help: "Connections of functions that a rule refused, by rule.",
		}, []string{"rule"}),
		in: bytes.WithLabelValues("in"), out: bytes.WithLabelValues("out"),
		connect: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "envoke_egress_connect_seconds", Help: "Time to resolve a name and to connect.",
			Buckets: []float64{.001, .003, .01, .03, .1, .3, 1, 3, 10},
		}),
	}
	if registerer == nil {
		return m
	}
	registerer.MustRegister(bytes, m.requests, m.refused, m.connect, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "envoke_egress_connections", Help: "Connections of functions under way.",
	}, func() float64 { return float64(p.connections()) }))
	return m
}
