package layer

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	installs  *prometheus.CounterVec
	duration  prometheus.Histogram
	evictions prometheus.Counter
}

func newMetrics(registerer prometheus.Registerer, l *Layers) *metrics {
	labels := prometheus.Labels{"language": string(l.opt.Language)}
	m := &metrics{
		installs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "envoke_layer_installs_total", Help: "Installations of functions' dependencies, by outcome.", ConstLabels: labels,
		}, []string{"outcome"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "envoke_layer_install_seconds", Help: "Time that installing dependencies took.", ConstLabels: labels,
			Buckets: []float64{.3, 1, 3, 10, 30, 60, 120},
		}),
		evictions: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "envoke_layer_evictions_total", Help: "Layers that were removed for others' sake.", ConstLabels: labels,
		}),
	}
	if registerer == nil {
		return m
	}
	registerer.MustRegister(m.installs, m.duration, m.evictions, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "envoke_layer_bytes", Help: "Size of all layers.", ConstLabels: labels,
	}, func() float64 {
		l.mu.Lock()
		defer l.mu.Unlock()
		return float64(l.bytes())
	}))
	return m
}
