package bench

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// WriteTo writes the report as text for people.
func (r Report) WriteTo(w io.Writer) (int64, error) {
	var out bytes.Buffer
	r.writeHead(&out)
	for _, load := range loadNames() {
		if t := r.resultTable(load, everyCase); t != nil {
			fmt.Fprintf(&out, "\n%s\n", r.title(load))
			t.write(&out)
		}
	}
	fmt.Fprint(&out, "\nRatios of requests/s, and of CPU time per request\n")
	r.ratioTable().write(&out)
	if t := r.differenceTable(); t != nil {
		fmt.Fprint(&out, "\nDifferences of p50 with 1 connection\n")
		t.write(&out)
	}
	if t := r.burstTable(); t != nil {
		fmt.Fprintf(&out, "\n%s\n", burstTitle)
		t.write(&out)
	}
	if r.State != nil {
		for _, t := range r.State.tables() {
			fmt.Fprintf(&out, "\n%s\n", t.title)
			t.write(&out)
		}
	}
	if r.Density != nil {
		fmt.Fprintf(&out, "\n%s\n", densityTitle)
		r.Density.table().write(&out)
	}
	if t := r.memoryTable(); t != nil {
		fmt.Fprint(&out, "\nMemory in MiB after the rounds, at its peak, and at last after the cold starts, whose workers are still there.\n"+
			"RSS counts a shared page in each process, PSS by equal parts\n")
		t.write(&out)
	}
	return out.WriteTo(w)
}

func (r Report) writeHead(out *bytes.Buffer) {
	m, s := r.Machine, r.Settings
	fmt.Fprintf(out, "%d × %s, %s MiB, Linux %s; both Envoys with concurrency %d\n", m.CPUs, m.CPU, mebibytes(m.Memory), m.Kernel, s.EnvoyConcurrency)
	var versions []string
	for _, v := range m.Versions {
		versions = append(versions, v.Of+" "+v.Version)
	}
	fmt.Fprintln(out, strings.Join(versions, ", "))
	fmt.Fprintf(out, "Medians of %d rounds of %.4g s (1 connection, open loop of %.4g s, cold start: of every third); p99.9 is of all\n", s.Rounds, s.Seconds, s.OpenSeconds)
	fmt.Fprint(out, "samples together. µs: CPU time per request, by process; served: all but the client. A ratio is taken within each\nround; CPU compares served µs: less is better.\n")
	fmt.Fprintf(out, "%s.\n", r.otherLoad())
	for _, m := range r.Missing {
		fmt.Fprintf(out, "Not measured: %s  %s: %s\n", m.Case, m.Name, m.Why)
	}
}

// roughAbove is the CPUs that others may take before figures are called rough.
const roughAbove = 0.1

func (r Report) otherLoad() string {
	load := r.Machine.OtherLoad
	text := fmt.Sprintf("Other programs took %.2f CPUs (%.2f–%.2f)", load.Median, load.Min, load.Max)
	if load.Median > roughAbove {
		text += ": too many, these figures are rough"
	}
	return text
}

func (r Report) title(load string) string {
	switch load {
	case Open:
		return fmt.Sprintf("Open loop, %.6g requests/s, latency from the time each was due", r.Settings.Rate)
	case Cold:
		return "Cold start: new code in every request, one after another, each when the pool is full again"
	case Build:
		return "Builds: source that nobody has seen before, one after another, from initialize to its 200"
	}
	return "Closed loop, " + load
}

func everyCase(Result) bool { return true }

// resultTable is nil where nothing was measured under the load.
func (r Report) resultTable(load string, wanted func(Result) bool) *table {
	t := &table{text: 2}
	header := []string{"", "", "requests/s", "min–max", "p50 ms", "p99 ms", "p99.9 ms", "samples"}
	for _, role := range Roles() {
		header = append(header, string(role)+" µs")
	}
	header = append(header, "served µs")
	if load == Cold || load == Build {
		header = append(header, "p50 target", "")
	}
	t.add(header...)
	for _, result := range r.Results {
		if result.Load == load && wanted(result) {
			t.add(resultRow(result)...)
		}
	}
	if len(t.rows) == 1 {
		return nil
	}
	return t
}

func resultRow(r Result) []string {
	row := []string{
		r.Case, r.Name, rate(r.RequestsPerSecond.Median),
		rate(r.RequestsPerSecond.Min) + "–" + rate(r.RequestsPerSecond.Max),
		number(r.P50.Median, 3), number(r.P99.Median, 3), r.longest(), strconv.Itoa(r.Samples),
	}
	for _, role := range Roles() {
		row = append(row, number(r.CPU[role].Median, 0))
	}
	row = append(row, number(r.Served.Median, 0))
	switch {
	case r.Overloaded:
		return append(row, "rate not kept")
	case r.Most == 0:
		return row
	case r.Missed:
		return append(row, fmt.Sprintf("≤ %.4g", r.Most), "NOT MET")
	}
	return append(row, fmt.Sprintf("≤ %.4g", r.Most), "met")
}

// longest is the 99.9th percentile, where there are enough samples for one.
func (r Result) longest() string {
	if r.Samples < leastSamples {
		return "–"
	}
	return number(r.P999, 3)
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
		t.add(ratio.Case+"/"+ratio.Beside, ratio.Means, number(ratio.ThirtyTwo.Median, 2), span(ratio.ThirtyTwo, 2),
			target, verdict(ratio.Target, ratio.ThirtyTwo, ratio.Missed), number(ratio.One.Median, 2), number(ratio.CPU.Median, 2))
	}
	return t
}

// differenceTable is nil where there is nothing to show.
func (r Report) differenceTable() *table {
	t := &table{text: 2}
	t.add("", "", "p50 ms", "min–max", "target", "")
	for _, d := range r.Differences {
		if d.P50 == (Spread{}) && d.Most == 0 {
			continue
		}
		target := ""
		if d.Most > 0 {
			target = fmt.Sprintf("≤ %.2f", d.Most)
		}
		t.add(d.Case+"-"+d.Beside, d.Means, number(d.P50.Median, 3), span(d.P50, 3), target, verdict(d.Most, d.P50, d.Missed))
	}
	if len(t.rows) == 1 {
		return nil
	}
	return t
}

func verdict(target float64, measured Spread, missed bool) string {
	switch {
	case target == 0:
		return ""
	case measured == Spread{}:
		return "not measured"
	case missed:
		return "NOT MET"
	}
	return "met"
}

// memoryTable is nil where nothing was noted.
func (r Report) memoryTable() *table {
	if len(r.Memory) == 0 {
		return nil
	}
	t := &table{text: 2}
	t.add("", "", "RSS", "peak", "last", "PSS", "peak", "last", "processes")
	for _, m := range r.Memory {
		t.add(m.Of, memoryRole(m), mebibytes(m.RSS.Rounds), mebibytes(m.RSS.Peak), mebibytes(m.RSS.Last),
			mebibytes(m.PSS.Rounds), mebibytes(m.PSS.Peak), mebibytes(m.PSS.Last), strconv.Itoa(m.Processes))
	}
	return t
}

// memoryRole says what the processes of a role are in what was started.
func memoryRole(m Memory) string {
	ours := slices.Contains([]string{envokeName, unfilteredName, emptyName, checkedName, filledName, manyName}, m.Of)
	switch {
	case ours && m.Role == Envoke:
		return "control and hosts"
	case ours && m.Role == Interpreter:
		return "workers"
	case m.Role == Interpreter || m.Role == Other:
		return "upstream"
	}
	return string(m.Role)
}
