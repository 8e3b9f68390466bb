package bench

import (
	"bytes"
	"fmt"
	"io"
	"text/tabwriter"
)

// WriteTo writes the report as text for people.
func (r Report) WriteTo(w io.Writer) (int64, error) {
	var out bytes.Buffer
	r.writeHead(&out)
	load := ""
	table := newTable(&out)
	for _, result := range r.Results {
		if result.Load != load {
			load = result.Load
			_ = table.Flush()
			r.writeTitle(&out, load)
			fmt.Fprintln(table, "\t\trequests/s\tmin–max\tp50 ms\tp99 ms\tenvoy µs\tenvoke µs\tnode µs\tproxy µs\tclient µs\t")
		}
		writeResult(table, result)
	}
	_ = table.Flush() // to a bytes.Buffer
	r.writeRatios(&out)
	return out.WriteTo(w)
}

func newTable(out io.Writer) *tabwriter.Writer {
	return tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
}

func (r Report) writeHead(out io.Writer) {
	m := r.Machine
	fmt.Fprintf(out, "%d × %s, Linux %s, Go %s, Node %s, Envoy %s (%d worker)\n",
		m.CPUs, m.CPU, m.Kernel, m.Go, m.Node, m.Envoy, r.Settings.EnvoyConcurrency)
	fmt.Fprintf(out, "Medians of %d rounds of %.4g s. µs: CPU time per request, by process.\n", r.Settings.Rounds, r.Settings.Seconds)
	fmt.Fprintf(out, "Other programs took %.2f CPUs (%.2f–%.2f)", m.OtherLoad.Median, m.OtherLoad.Min, m.OtherLoad.Max)
	if m.OtherLoad.Median > 0.1 {
		fmt.Fprint(out, ": too many, these figures are rough")
	}
	fmt.Fprint(out, ".\n")
}

func (r Report) writeTitle(out io.Writer, load string) {
	switch load {
	case Open:
		fmt.Fprintf(out, "\nOpen loop, %.6g requests/s, latency from the time each was due\n", r.Settings.Rate)
	case Cold:
		fmt.Fprint(out, "\nCold start: new code in every request, one after another\n")
	default:
		fmt.Fprintf(out, "\nClosed loop, %s\n", load)
	}
}

func writeResult(table io.Writer, r Result) {
	fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%.3f\t%.3f\t", r.Case, r.Name,
		thousands(r.RequestsPerSecond.Median),
		thousands(r.RequestsPerSecond.Min)+"–"+thousands(r.RequestsPerSecond.Max),
		r.P50.Median, r.P99.Median)
	for _, role := range Roles() {
		fmt.Fprintf(table, "%.0f\t", r.CPU[role].Median)
	}
	fmt.Fprintln(table)
}

func (r Report) writeRatios(out io.Writer) {
	fmt.Fprint(out, "\nRatios of requests/s, each taken within a round\n")
	table := newTable(out)
	fmt.Fprintln(table, "\t\t32 connections\tmin–max\ttarget\t\t1 connection\t")
	for _, ratio := range r.Ratios {
		if ratio.ThirtyTwo == (Spread{}) {
			continue
		}
		target, verdict := "", ""
		if ratio.Target > 0 {
			target, verdict = fmt.Sprintf("≥ %.2f", ratio.Target), "met"
			if ratio.Missed {
				verdict = "MISSED"
			}
		}
		fmt.Fprintf(table, "%s/%s\t%s\t%.2f\t%.2f–%.2f\t%s\t%s\t%.2f\t\n", ratio.Case, ratio.Beside, ratio.Means,
			ratio.ThirtyTwo.Median, ratio.ThirtyTwo.Min, ratio.ThirtyTwo.Max, target, verdict, ratio.One.Median)
	}
	_ = table.Flush() // to a bytes.Buffer
}

// thousands shows a large number with one decimal and a k.
func thousands(n float64) string {
	if n < 1000 {
		return fmt.Sprintf("%.0f", n)
	}
	return fmt.Sprintf("%.1fk", n/1000)
}
