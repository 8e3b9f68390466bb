package xds

import (
	"cmp"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Status is what operators see of xDS, under /debug/xds.
type Status struct {
	Version string `json:"version"`                // of what is published
	Good    string `json:"last_good_version"`      // of what an Envoy took whole; empty: none did yet
	Filter  string `json:"filter,omitempty"`       // version of the Wasm filter; empty: requests pass by it
	Error   string `json:"error,omitempty"`        // why the last state was not published
	Nack    *Nack  `json:"last_refusal,omitempty"` // the last refusal of an Envoy
	// Refused are the declared upstreams and hosts that an Envoy did not take. All else is
	// published.
	Refused []Refusal `json:"refused,omitempty"`
	// Waiting are hosts, and tables of routes, whose change waits for new clusters.
	Waiting []string `json:"waiting,omitempty"`
	Nodes   []Node   `json:"nodes"`
}

// Nack is an Envoy's refusal of resources, with its own text.
type Nack struct {
	Time    time.Time `json:"time"`
	Node    string    `json:"node"`
	Type    string    `json:"type"`    // listener, route, host, cluster, endpoint, filter or secret
	Version string    `json:"version"` // of that type in the snapshot
	Message string    `json:"message"`

	typeURL string
}

// Node is an Envoy that is connected.
type Node struct {
	ID     string    `json:"id"`
	Since  time.Time `json:"since"`
	Synced bool      `json:"synced"` // it holds all of what is published
}

// Status tells what is published and what the connected Envoys made of it.
func (c *Controller) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	status := Status{Nodes: []Node{}}
	if c.published != nil {
		status.Version, status.Filter = c.published.version, c.published.filter
	}
	if c.good != nil {
		status.Good = c.good.version
	}
	if c.buildError != nil {
		status.Error = c.buildError.Error()
	}
	if c.nack != nil {
		nack := *c.nack
		status.Nack = &nack
	}
	status.Refused = c.refusals.list()
	for _, r := range c.waiting {
		status.Waiting = append(status.Waiting, r.name)
	}
	slices.Sort(status.Waiting)
	for s := range c.streams {
		synced := c.published != nil && len(c.waiting) == 0 && s.holds(c.published)
		status.Nodes = append(status.Nodes, Node{ID: s.node, Since: s.since, Synced: synced})
	}
	slices.SortFunc(status.Nodes, func(a, b Node) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), a.Since.Compare(b.Since))
	})
	return status
}

func (s *Snapshot) typeVersion(typeURL string) string { return s.cache.GetVersion(typeURL) }

type metrics struct {
	nacks     *prometheus.CounterVec
	published prometheus.Counter
	faults    prometheus.Counter
	streams   prometheus.Gauge
	apart     prometheus.Gauge
}

func newMetrics(registerer prometheus.Registerer) metrics {
	m := metrics{
		nacks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "envoke_xds_nacks_total", Help: "Refusals of resources by Envoys.",
		}, []string{"type"}),
		published: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "envoke_xds_snapshots_total", Help: "Snapshots published.",
		}),
		faults: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "envoke_xds_build_faults_total", Help: "States that could not be published.",
		}),
		streams: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "envoke_xds_streams", Help: "Envoys connected.",
		}),
		apart: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "envoke_xds_refused", Help: "Declared upstreams and hosts that are kept apart since an Envoy refused them.",
		}),
	}
	for _, typeURL := range typeURLs {
		m.nacks.WithLabelValues(short(typeURL)) // 0, so that the first refusal is seen as one
	}
	if registerer != nil {
		registerer.MustRegister(m.nacks, m.published, m.faults, m.streams, m.apart)
	}
	return m
}
