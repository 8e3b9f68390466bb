package overload

import (
	"context"
	"fmt"
	"time"

	"envoke/internal/soak"
)

// Result is what came of a case.
type Result struct {
	Case     string  `json:"case"`
	About    string  `json:"about"`
	Capacity float64 `json:"capacity_per_second"`
	// Rest is at restLoad, Flood at the flood, After at afterLoad.
	Rest          Figures `json:"rest"`
	Flood         Figures `json:"flood"`
	After         Figures `json:"after"`
	RestNeighbour Figures `json:"rest_neighbour"`
	// FloodNeighbour is the neighbour's during the flood. Zero: there is none.
	FloodNeighbour Figures  `json:"flood_neighbour"`
	Offered        float64  `json:"offered_per_second"` // what was sent in the flood
	Unsent         int64    `json:"unsent"`             // calls that found all connections busy
	Recovery       float64  `json:"recovery_seconds"`   // -1: not in the time that was looked at
	Seconds        []Second `json:"seconds"`
	Memory         memories `json:"memory"`
	Faults         []string `json:"faults"`
}

// Second is one of the flood, or of the time after it.
type Second struct {
	Flood bool `json:"flood"`
	Figures
}

// take takes the figures of the flood and of the time after it.
func (r *Result) take(flood, after *openLoop) {
	all := flood.flooded.all()
	r.Flood, r.After = all.figures(flood.length), after.flooded.all().figures(after.length)
	r.Offered = float64(all.accepted()+all.refused()+all.Wrong) / flood.length.Seconds()
	r.Unsent = flood.unsent.Load()
	if flood.neighbour != nil {
		r.FloodNeighbour = flood.neighbour.all().figures(flood.length)
	}
	for _, o := range []*openLoop{flood, after} {
		for at := time.Duration(0); at < o.length; at += time.Second {
			r.Seconds = append(r.Seconds, Second{o == flood, o.flooded.between(at, at+time.Second).figures(time.Second)})
		}
	}
	r.Recovery = recovery(after.flooded, slowdown*r.Rest.P99)
}

// calm is how many slices in a row must be as before, for it to be over.
const calm = int(time.Second / slice)

// recovery is how many seconds after the flood nobody is refused any more, nor waits longer
// than most milliseconds, for a second; -1: never.
func recovery(after *counts, most float64) float64 {
	good := 0
	for at := range after.slices {
		from := time.Duration(at) * slice
		f := after.between(from, from+slice).figures(slice)
		if f.Limited+f.Unavailable+f.Wrong > 0 || f.P99 > most {
			good = 0
			continue
		}
		if good++; good == calm {
			return (from + slice - time.Duration(calm)*slice).Seconds()
		}
	}
	return -1
}

// judge compares the figures with what they must be.
func (r *Result) judge() {
	must := func(kept bool, format string, values ...any) {
		if !kept {
			r.Faults = append(r.Faults, fmt.Sprintf(format, values...))
		}
	}
	wrong := r.Rest.Wrong + r.Flood.Wrong + r.After.Wrong + r.FloodNeighbour.Wrong
	must(wrong == 0, "%d answers are none that is documented (first in the flood: %s)", wrong, r.Flood.Why)
	must(r.Flood.Accepted > 0 && r.Flood.P99 <= slowdown*r.Rest.P99, "p99 of the accepted is %.1f ms, more than %d times %.1f ms", r.Flood.P99, slowdown, r.Rest.P99)
	must(r.Recovery >= 0 && r.Recovery <= recoverWithin.Seconds(), "recovery took %.2f s, more than %s (-1: it did not come)", r.Recovery, recoverWithin)
	if n, rest := r.FloodNeighbour, r.RestNeighbour; rest.Accepted > 0 {
		must(n.Accepted > 0 && n.P99 <= slowdown*rest.P99, "p99 of the neighbour is %.1f ms, more than %d times %.1f ms", n.P99, slowdown, rest.P99)
		must(n.Limited+n.Unavailable == 0, "%d calls of the neighbour were refused", n.Limited+n.Unavailable)
	}
	if err := soak.CheckGrowth(r.Memory.samples, growth, map[string]int64{"envoke": envokeMost}); err != nil {
		r.Faults = append(r.Faults, err.Error())
	}
	if r.Memory.Failed != "" {
		r.Faults = append(r.Faults, r.Memory.Failed)
	}
}

// memories is resident memory during the flood, in bytes by role.
type memories struct {
	First, Most, Last map[string]int64
	Failed            string `json:",omitempty"`

	samples []soak.Sample
}

const memoryEvery = time.Second

// watchMemory samples until the context ends.
func watchMemory(ctx context.Context, process int) (m memories) {
	tick := time.NewTicker(memoryEvery)
	defer tick.Stop()
	m.Most = make(map[string]int64)
	for {
		sums, err := soak.Residents("/proc", process)
		if err != nil {
			m.Failed = err.Error()
			return m
		}
		if m.First == nil {
			m.First = sums
		}
		m.Last = sums
		for role, bytes := range sums {
			m.Most[role] = max(m.Most[role], bytes)
		}
		m.samples = append(m.samples, soak.Sample{Bytes: sums})
		select {
		case <-ctx.Done():
			return m
		case <-tick.C:
		}
	}
}
