package overload

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Report is what came of a run.
type Report struct {
	Seconds     int      `json:"flood_seconds"`
	Times       float64  `json:"times_the_capacity"`
	Connections int      `json:"most_connections"`
	Results     []Result `json:"cases"`
}

// Err says which bounds were not kept.
func (r Report) Err() error {
	var all []string
	for _, c := range r.Results {
		for _, f := range c.Faults {
			all = append(all, c.Case+": "+f)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return fmt.Errorf("%d bounds were not kept:\n%s", len(all), strings.Join(all, "\n"))
}

// Markdown is a table of all.
func (r Report) Markdown() string {
	var out strings.Builder
	_, _ = fmt.Fprintf(&out, "A flood of %g times the capacity for %d s, over at most %d connections; latencies in ms.\n\n", r.Times, r.Seconds, r.Connections)
	out.WriteString("| case | capacity/s | sent/s | accepted/s | p50, p99 at 0.8 × | p50, p99 in the flood | × p99 | 429 | 503 | wrong | recovery s | memory MiB: first, most, last |\n")
	out.WriteString("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|\n")
	for _, c := range r.Results {
		_, _ = fmt.Fprintf(&out, "| %s | %.0f | %.0f | %.0f | %.1f, %.1f | %.1f, %.1f | %.2f | %d | %d | %d | %.2f | %s |\n",
			c.Case, c.Capacity, c.Offered, c.Flood.PerSecond, c.Rest.P50, c.Rest.P99, c.Flood.P50, c.Flood.P99,
			c.Flood.P99/c.Rest.P99, c.Flood.Limited, c.Flood.Unavailable, c.Flood.Wrong, c.Recovery, c.Memory)
		if n := c.FloodNeighbour; n.Accepted > 0 {
			_, _ = fmt.Fprintf(&out, "| its neighbour | | %d | %.0f | %.1f, %.1f | %.1f, %.1f | %.2f | %d | %d | %d | | |\n", neighbourRate,
				n.PerSecond, c.RestNeighbour.P50, c.RestNeighbour.P99, n.P50, n.P99, n.P99/c.RestNeighbour.P99, n.Limited, n.Unavailable, n.Wrong)
		}
	}
	return out.String()
}

func (m memories) String() string {
	var parts []string
	for _, role := range slices.Sorted(maps.Keys(m.Most)) {
		parts = append(parts, fmt.Sprintf("%s %d, %d, %d", role, m.First[role]>>20, m.Most[role]>>20, m.Last[role]>>20))
	}
	return strings.Join(parts, "; ")
}

// line is for who waits.
func (r *Result) line() string {
	var out strings.Builder
	_, _ = fmt.Fprintf(&out, "  at %.1f of it p50 %.1f ms, p99 %.1f ms\n", restLoad, r.Rest.P50, r.Rest.P99)
	_, _ = fmt.Fprintf(&out, "  flood: sent %.0f a second (%d found no connection), accepted %.0f, p50 %.1f ms, p99 %.1f ms, 429 %d, 503 %d, wrong %d\n",
		r.Offered, r.Unsent, r.Flood.PerSecond, r.Flood.P50, r.Flood.P99, r.Flood.Limited, r.Flood.Unavailable, r.Flood.Wrong)
	if n := r.FloodNeighbour; n.Accepted > 0 {
		_, _ = fmt.Fprintf(&out, "  neighbour: p50 %.1f ms, p99 %.1f ms; before %.1f ms, %.1f ms\n", n.P50, n.P99, r.RestNeighbour.P50, r.RestNeighbour.P99)
	}
	_, _ = fmt.Fprintf(&out, "  recovery %.2f s; memory MiB (first, most, last): %s\n", r.Recovery, r.Memory)
	for _, f := range r.Faults {
		_, _ = fmt.Fprintf(&out, "  NOT KEPT: %s\n", f)
	}
	return out.String()
}
