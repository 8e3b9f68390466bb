package bench

import (
	"bytes"
	"fmt"
	"html"
	"slices"
)

// Sizes of a chart, in px. Labels have room for some forty characters.
const (
	chartWidth  = 800
	chartMargin = 16
	barsLeft    = 300
	barsWidth   = 330
	barsTop     = 72
	oneBarRow   = 28
	twoBarsRow  = 34
)

// point is a place in a chart, in px from its upper left corner.
type point struct{ x, y int }

// chart is horizontal bars, one row for each case.
type chart struct {
	title string
	notes [2]string
	rows  []chartRow
	// mark is where a line crosses all rows, as a part of the bars' width; 0 draws none.
	mark float64
}

// chartRow has one bar, or two below each other.
type chartRow struct {
	label string
	ours  bool
	bars  []float64 // parts of the bars' width; what is above 1 is cut off, and marked
	text  string    // beside the bars
}

// chartStyle brings its own background: a page may be dark where the reader's system is
// light, and the other way round.
const chartStyle = `<style>
text{font-family:system-ui,-apple-system,"Segoe UI",Helvetica,Arial,sans-serif;font-size:13px;fill:#1f2328}
.title{font-size:16px;font-weight:600}
.note{font-size:12px;fill:#59636e}
.value{paint-order:stroke;stroke:#ffffff;stroke-width:5px}
.page{fill:#ffffff}
.ours{fill:#0969da}
.theirs{fill:#818b98}
.second{fill-opacity:.45}
.mark{stroke:#59636e;stroke-dasharray:3 3}
.cut{stroke:#ffffff;stroke-width:3}
@media (prefers-color-scheme:dark){
text{fill:#e6edf3}
.note{fill:#9198a1}
.value{stroke:#0d1117}
.page{fill:#0d1117}
.ours{fill:#4493f8}
.theirs{fill:#7d8590}
.mark{stroke:#9198a1}
.cut{stroke:#0d1117}
}
</style>
`

// svg draws the chart.
func (c chart) svg() []byte {
	height := barsTop + chartMargin
	for _, row := range c.rows {
		height += row.height()
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img">`+"\n",
		chartWidth, height, chartWidth, height)
	fmt.Fprintf(&out, "<title>%s</title>\n%s", html.EscapeString(c.title), chartStyle)
	fmt.Fprintf(&out, `<rect class="page" width="%d" height="%d" rx="6"/>`+"\n", chartWidth, height)
	writeText(&out, point{chartMargin, 26}, "title", c.title)
	for i, note := range c.notes {
		writeText(&out, point{chartMargin, 45 + 16*i}, "note", note)
	}
	if c.mark > 0 {
		x := barsLeft + c.mark*barsWidth
		fmt.Fprintf(&out, `<line class="mark" x1="%.1f" y1="%d" x2="%.1f" y2="%d"/>`+"\n", x, barsTop, x, height-chartMargin)
	}
	y := barsTop
	for _, row := range c.rows {
		row.write(&out, y)
		y += row.height()
	}
	out.WriteString("</svg>\n")
	return out.Bytes()
}

func (r chartRow) height() int {
	if len(r.bars) > 1 {
		return twoBarsRow
	}
	return oneBarRow
}

func (r chartRow) write(out *bytes.Buffer, y int) {
	middle := y + r.height()/2
	writeText(out, point{chartMargin, middle + 5}, "", r.label)
	class, end := "theirs", 0.0
	if r.ours {
		class = "ours"
	}
	thick := (r.height() - 10) / max(1, len(r.bars))
	for i, part := range r.bars {
		kind, top := class, y+5+i*thick
		if i > 0 {
			kind += " second"
		}
		width := min(part, 1) * barsWidth
		fmt.Fprintf(out, `<rect class="%s" x="%d" y="%d" width="%.1f" height="%d"/>`+"\n", kind, barsLeft, top, max(width, 1), thick)
		if part > 1 {
			x := barsLeft + 0.9*barsWidth
			fmt.Fprintf(out, `<line class="cut" x1="%.1f" y1="%d" x2="%.1f" y2="%d"/>`+"\n", x+4, top, x-4, top+thick)
		}
		end = max(end, width)
	}
	writeText(out, point{barsLeft + int(end) + 8, middle + 5}, "value", r.text)
}

func writeText(out *bytes.Buffer, at point, class, text string) {
	if text == "" {
		return
	}
	attribute := ""
	if class != "" {
		attribute = fmt.Sprintf(` class="%s"`, class)
	}
	fmt.Fprintf(out, `<text%s x="%d" y="%d">%s</text>`+"\n", attribute, at.x, at.y, html.EscapeString(text))
}

// requestsChart shows requests/s of a part's cases beside those of its reference; nil
// where nothing was measured. Its bars are ratios taken within rounds, as all ratios are.
func (r Report) requestsChart(part Part) *chart {
	c := chart{
		title: part.Title() + ": requests a second",
		notes: [2]string{"Closed loop, " + ThirtyTwo + "; longer is better"},
	}
	reference := r.result(part.reference(), ThirtyTwo)
	longest := 0.0
	for _, result := range r.resultsOf(part, ThirtyTwo) {
		row := chartRow{label: result.Name, ours: isOurs(result.Case), text: rate(result.RequestsPerSecond.Median) + "/s"}
		value := result.RequestsPerSecond.Median
		if reference != nil {
			value = ratioOf(result.Rounds, reference.Rounds, Round.throughput).Median
			row.text += fmt.Sprintf(" · %.2f×", value)
		}
		row.bars = []float64{value}
		longest = max(longest, value)
		c.rows = append(c.rows, row)
	}
	if longest == 0 {
		return nil
	}
	for i := range c.rows {
		c.rows[i].bars[0] /= longest
	}
	if reference != nil {
		c.mark = 1 / longest
		c.notes[1] = "×, and the line: beside " + reference.Name
	}
	return &c
}

// latencyChart shows the median and the 99th percentile of some results; nil where there
// are none.
func latencyChart(title, note string, results []Result) *chart {
	c := chart{title: title, notes: [2]string{note, "upper bar: p50, lower: p99; shorter is better"}}
	limit := latencyLimit(results)
	if limit == 0 {
		return nil
	}
	for _, result := range results {
		row := chartRow{label: result.Name, ours: isOurs(result.Case), text: "rate not kept"}
		if !result.Overloaded {
			row.bars = []float64{result.P50.Median / limit, result.P99.Median / limit}
			row.text = fmt.Sprintf("%s · %s ms", short(result.P50.Median), short(result.P99.Median))
		}
		c.rows = append(c.rows, row)
	}
	return &c
}

// latencyLimit is the longest bar, in ms: the greatest p99, unless that would leave
// nothing to be seen of the others.
func latencyLimit(results []Result) float64 {
	const most = 4 // times the p99 of the case in the middle
	var all []float64
	for _, result := range results {
		if !result.Overloaded {
			all = append(all, result.P99.Median)
		}
	}
	if len(all) == 0 {
		return 0
	}
	return min(slices.Max(all), most*spreadOf(all).Median)
}

// short shows a latency by some three digits.
func short(ms float64) string {
	switch {
	case ms < 1:
		return fmt.Sprintf("%.2f", ms)
	case ms < 100:
		return fmt.Sprintf("%.1f", ms)
	}
	return fmt.Sprintf("%.0f", ms)
}
