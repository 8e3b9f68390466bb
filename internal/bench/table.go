package bench

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// WriteTo writes the report as text for people.
func (r Report) WriteTo(w io.Writer) (int64, error) {
	var out bytes.Buffer
	r.writeHead(&out)
	for rest := r.Results; len(rest) > 0; {
		load, t := rest[0].Load, resultTable(rest[0].Load)
		for len(rest) > 0 && rest[0].Load == load {
			t.add(resultRow(rest[0])...)
			rest = rest[1:]
		}
		fmt.Fprintf(&out, "\n%s\n", r.title(load))
		t.write(&out)
	}
	fmt.Fprint(&out, "\nRatios of requests/s, and of CPU time per request\n")
	r.ratioTable().write(&out)
	return out.WriteTo(w)
}

// roughAbove is the CPUs that others may take before figures are called rough.
const roughAbove = 0.1

func (r Report) writeHead(out *bytes.Buffer) {
	m, s := r.Machine, r.Settings
	fmt.Fprintf(out, "%d × %s, Linux %s, Go %s, Node %s, Python %s, Envoy %s with concurrency %d\n",
		m.CPUs, m.CPU, m.Kernel, m.Go, m.Node, m.Python, m.Envoy, s.EnvoyConcurrency)
	fmt.Fprintf(out, "Medians of %d rounds of %.4g s (1 connection, open loop, cold start: of every third). µs: CPU time per request, by process;\nserved: all but the client. A ratio is taken within each round; CPU compares served µs: less is better.\n", s.Rounds, s.Seconds)
	fmt.Fprintf(out, "Other programs took %.2f CPUs (%.2f–%.2f)", m.OtherLoad.Median, m.OtherLoad.Min, m.OtherLoad.Max)
	if m.OtherLoad.Median > roughAbove {
		out.WriteString(": too many, these figures are rough")
	}
	out.WriteString(".\n")
	for _, m := range r.Missing {
		fmt.Fprintf(out, "Not measured: %s  %s: %s\n", m.Case, m.Name, m.Why)
	}
}

func (r Report) title(load string) string {
	switch load {
	case Open:
		return fmt.Sprintf("Open loop, %.6g requests/s, latency from the time each was due", r.Settings.Rate)
	case Cold:
		return "Cold start: new code in every request, one after another, each when the pool is full again"
	}
	return "Closed loop, " + load
}

func resultTable(load string) *table {
	t := &table{text: 2}
	header := []string{"", "", "requests/s", "min–max", "p50 ms", "p99 ms"}
	for _, role := range Roles() {
		header = append(header, string(role)+" µs")
	}
	header = append(header, "served µs")
	if load == Cold {
		header = append(header, "p50 target", "")
	}
	t.add(header...)
	return t
}

func resultRow(r Result) []string {
	row := []string{
		r.Case, r.Name, rate(r.RequestsPerSecond.Median),
		rate(r.RequestsPerSecond.Min) + "–" + rate(r.RequestsPerSecond.Max),
		number(r.P50.Median, 3), number(r.P99.Median, 3),
	}
	for _, role := range Roles() {
		row = append(row, number(r.CPU[role].Median, 0))
	}
	row = append(row, number(r.Served.Median, 0))
	switch {
	case r.Most == 0:
		return row
	case r.Missed:
		return append(row, fmt.Sprintf("≤ %.4g", r.Most), "NOT MET")
	}
	return append(row, fmt.Sprintf("≤ %.4g", r.Most), "met")
}

// ratioTable leaves out what was not measured and has no target.
func (r Report) ratioTable() *table {
	t := &table{text: 2}
	t.add("", "", "32 connections", "min–max", "target", "", "1 connection", "CPU, 32")
	for _, ratio := range r.Ratios {
		if ratio.ThirtyTwo == (Spread{}) && ratio.Target == 0 {
			continue
		}
		target := ""
		if ratio.Target > 0 {
			target = fmt.Sprintf("≥ %.2f", ratio.Target)
		}
		t.add(ratio.Case+"/"+ratio.Beside, ratio.Means, number(ratio.ThirtyTwo.Median, 2),
			number(ratio.ThirtyTwo.Min, 2)+"–"+number(ratio.ThirtyTwo.Max, 2),
			target, ratio.verdict(), number(ratio.One.Median, 2), number(ratio.CPU.Median, 2))
	}
	return t
}

func (r Ratio) verdict() string {
	switch {
	case r.Target == 0:
		return ""
	case r.ThirtyTwo == Spread{}:
		return "not measured"
	case r.Missed:
		return "NOT MET"
	}
	return "met"
}

// number shows a 0 as a dot: nothing was measured, or nothing spent.
func number(n float64, decimals int) string {
	if n == 0 {
		return "·"
	}
	return fmt.Sprintf("%.*f", decimals, n)
}

// rate shows thousands with one decimal and a k.
func rate(perSecond float64) string {
	if perSecond < 1000 {
		return fmt.Sprintf("%.0f", perSecond)
	}
	return fmt.Sprintf("%.1fk", perSecond/1000)
}

// table is rows of cells in columns: the first few hold text and are aligned to
// the left, the others to the right.
type table struct {
	text   int
	rows   [][]string
	widths []int
}

func (t *table) add(row ...string) {
	for i, cell := range row {
		if i == len(t.widths) {
			t.widths = append(t.widths, 0)
		}
		t.widths[i] = max(t.widths[i], utf8.RuneCountInString(cell))
	}
	t.rows = append(t.rows, row)
}

func (t *table) write(out *bytes.Buffer) {
	for _, row := range t.rows {
		var line strings.Builder
		for i, cell := range row {
			padding := strings.Repeat(" ", t.widths[i]-utf8.RuneCountInString(cell))
			if i < t.text {
				line.WriteString(cell + padding + "  ")
			} else {
				line.WriteString(padding + cell + "  ")
			}
		}
		out.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
}
