package routing

import "github.com/prometheus/client_golang/prometheus"

var (
	describeRoutes = prometheus.NewDesc("envoke_routing_routes",
		"Routes that a source has served.", []string{"source"}, nil)
	describeUpstreams = prometheus.NewDesc("envoke_routing_upstreams",
		"Upstreams that a source has served.", []string{"source"}, nil)
	describeFaults = prometheus.NewDesc("envoke_routing_faults",
		"Faults of what a source declares now.", []string{"source"}, nil)
	describeRefused = prometheus.NewDesc("envoke_routing_refused",
		"1 where what a source declares now has faults, and what it declared before is served.", []string{"source"}, nil)
	describeRefusals = prometheus.NewDesc("envoke_routing_refusals_total",
		"How often what a source declares was not taken, since it has faults.", []string{"source"}, nil)
)

// Describe implements prometheus.Collector.
func (s *Sources) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{describeRoutes, describeUpstreams, describeFaults, describeRefused, describeRefusals} {
		ch <- d
	}
}

// Collect implements prometheus.Collector: the figures of each source that has said anything.
func (s *Sources) Collect(ch chan<- prometheus.Metric) {
	for _, status := range s.Status() {
		gauge := func(d *prometheus.Desc, value int) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(value), status.Source)
		}
		gauge(describeRoutes, status.Routes)
		gauge(describeUpstreams, status.Upstreams)
		gauge(describeFaults, len(status.Faults))
		refused := 0
		if status.Refused {
			refused = 1
		}
		gauge(describeRefused, refused)
		ch <- prometheus.MustNewConstMetric(describeRefusals, prometheus.CounterValue, float64(status.refusals), status.Source)
	}
}
