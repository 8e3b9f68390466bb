package bench

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// page is the name of the Markdown document that shows the charts.
const page = "README.md"

// WriteDocs writes the report into a folder, as a Markdown page with charts. Charts of
// what this report lacks are removed: they would be of another run.
func (r Report) WriteDocs(folder string) error {
	files := r.docs()
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("write the documentation: %w", err)
	}
	for _, name := range chartNames() {
		if err := os.Remove(filepath.Join(folder, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove an older chart: %w", err)
		}
	}
	for name, content := range files {
		if err := writeFile(filepath.Join(folder, name), content); err != nil {
			return fmt.Errorf("write the documentation: %w", err)
		}
	}
	return nil
}

func writeFile(path string, content []byte) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	return errors.Join(err, file.Close())
}

// docs are the files by their names.
func (r Report) docs() map[string][]byte {
	files := make(map[string][]byte)
	for name, c := range r.charts() {
		files[name] = c.svg()
	}
	files[page] = r.markdown(files)
	return files
}

// Names of charts.
const coldChart = "cold-starts.svg"

func requestsChartOf(part Part) string { return string(part) + "-requests.svg" }
func latencyChartOf(part Part) string  { return string(part) + "-latency.svg" }

func chartNames() []string {
	names := []string{coldChart}
	for _, part := range Parts() {
		names = append(names, requestsChartOf(part), latencyChartOf(part))
	}
	return names
}

// charts are those that there is something to show in.
func (r Report) charts() map[string]*chart {
	charts := make(map[string]*chart)
	add := func(name string, c *chart) {
		if c != nil {
			charts[name] = c
		}
	}
	for _, part := range r.Settings.Parts {
		add(requestsChartOf(part), r.requestsChart(part))
		add(latencyChartOf(part), latencyChart(part.Title()+": latency", r.title(Open), r.resultsOf(part, Open)))
	}
	cold := slices.DeleteFunc(slices.Clone(r.Results), func(r Result) bool { return r.Load != Cold })
	add(coldChart, latencyChart("One-shots of new code: latency", "One after another, each when the pool of workers is full again", cold))
	return charts
}

const introduction = `# Benchmarks

<!-- Written by ` + "`make bench-docs`" + `: do not edit. -->

One run of ` + "`make bench-docs`" + `. Figures of one machine mean little on another; ratios within a run mean more. What is compared, and why so, is in [RATIONALE.md](../../RATIONALE.md#benchmark).
`

const explanation = `
Cases take turns in short rounds. Each figure is the median of its rounds; p99.9 is of all samples together, and a dash where they are fewer than 1,000. A ratio, or a difference, is taken within each round. µs are CPU time per request by process: served is all but the load generator's, which shares the machine. Every reply is verified.
`

func (r Report) markdown(files map[string][]byte) []byte {
	var out bytes.Buffer
	out.WriteString(introduction)
	out.WriteString("\n## Where and how\n\n")
	r.surroundings().writeMarkdown(&out)
	out.WriteString(explanation)
	out.WriteString("\n## Ratios of requests/s, and of CPU time per request\n\nOf CPU time less is better, of requests/s more.\n\n")
	r.ratioTable().writeMarkdown(&out)
	if t := r.differenceTable(); t != nil {
		out.WriteString("\n## Differences of p50 with 1 connection\n\n")
		t.writeMarkdown(&out)
	}
	for _, part := range r.Settings.Parts {
		if part == Many || part == StatePart {
			continue // they have no cases
		}
		r.writePart(&out, part, files)
	}
	r.writeCold(&out, files)
	if t := r.resultTable(Build, everyCase); t != nil {
		fmt.Fprintf(&out, "\n## Rust source\n\n%s:\n\n", r.title(Build))
		t.writeMarkdown(&out)
	}
	if r.State != nil {
		fmt.Fprintf(&out, "\n## %s\n", StatePart.Title())
		for _, t := range r.State.tables() {
			fmt.Fprintf(&out, "\n%s:\n\n", t.title)
			t.writeMarkdown(&out)
		}
	}
	if r.Density != nil {
		fmt.Fprintf(&out, "\n## %s\n\n%s:\n\n", Many.Title(), densityTitle)
		r.Density.table().writeMarkdown(&out)
	}
	r.writeMemory(&out)
	r.writeMissing(&out)
	return out.Bytes()
}

func (r Report) surroundings() *table {
	m, s := r.Machine, r.Settings
	t := &table{text: 2}
	t.add("", "")
	t.add("Date", r.StartedAt.Format("2006-01-02 15:04 UTC"))
	t.add("CPU", fmt.Sprintf("%d × %s", m.CPUs, m.CPU))
	t.add("Memory", mebibytes(m.Memory)+" MiB")
	t.add("Kernel", "Linux "+m.Kernel)
	for _, v := range m.Versions {
		t.add(v.Of, v.Version)
	}
	t.add("Worker threads of either Envoy", strconv.Itoa(s.EnvoyConcurrency))
	t.add("Rounds", fmt.Sprintf("%d of %.4g s; with 1 connection, of the open loop (%.4g s) and of cold starts every third", s.Rounds, s.Seconds, s.OpenSeconds))
	t.add("Others", r.otherLoad())
	return t
}

func (r Report) writePart(out *bytes.Buffer, part Part, files map[string][]byte) {
	fmt.Fprintf(out, "\n## %s\n", part.Title())
	writeImage(out, part.Title()+", requests a second", requestsChartOf(part), files)
	writeImage(out, part.Title()+", latency", latencyChartOf(part), files)
	wanted := keysOf(casesOf([]Part{part}))
	for _, load := range []string{ThirtyTwo, One, Open} {
		if t := r.resultTable(load, func(r Result) bool { return slices.Contains(wanted, r.Case) }); t != nil {
			fmt.Fprintf(out, "\n%s:\n\n", r.title(load))
			t.writeMarkdown(out)
		}
	}
}

func writeImage(out *bytes.Buffer, text, name string, files map[string][]byte) {
	if files[name] != nil {
		fmt.Fprintf(out, "\n![%s](%s)\n", text, name)
	}
}

func (r Report) writeCold(out *bytes.Buffer, files map[string][]byte) {
	t := r.resultTable(Cold, everyCase)
	if t == nil {
		return
	}
	out.WriteString("\n## One-shots of new code\n")
	writeImage(out, "One-shots of new code, latency", coldChart, files)
	fmt.Fprintf(out, "\n%s:\n\n", r.title(Cold))
	t.writeMarkdown(out)
	if t := r.burstTable(); t != nil {
		fmt.Fprintf(out, "\n%s:\n\n", burstTitle)
		t.writeMarkdown(out)
	}
}

func (r Report) writeMemory(out *bytes.Buffer) {
	t := r.memoryTable()
	if t == nil {
		return
	}
	out.WriteString("\n## Memory\n\nIn MiB, of all that ran side by side: after the rounds, at its peak, and at last after the cold starts, " +
		"whose workers are still there. RSS counts a page that processes share in each of them, PSS by equal parts.\n\n")
	t.writeMarkdown(out)
}

func (r Report) writeMissing(out *bytes.Buffer) {
	if len(r.Missing) == 0 {
		return
	}
	out.WriteString("\n## Not measured\n\n")
	for _, m := range r.Missing {
		fmt.Fprintf(out, "- %s  %s: %s\n", m.Case, m.Name, m.Why)
	}
}

// resultsOf are those of a part, and of what its cases are compared with.
func (r Report) resultsOf(part Part, load string) []Result {
	wanted := keysOf(casesOf([]Part{part}))
	return slices.DeleteFunc(slices.Clone(r.Results), func(r Result) bool {
		return r.Load != load || !slices.Contains(wanted, r.Case)
	})
}
