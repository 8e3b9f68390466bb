package bench

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"
)

// table is rows of cells in columns, of which the first row is the header: the first
// few columns hold text and are aligned to the left, the others to the right.
type table struct {
	title  string // where it says what it is itself
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

// writeMarkdown leaves columns unpadded, so that a change of one cell is a change of one
// line.
func (t *table) writeMarkdown(out *bytes.Buffer) {
	for i, row := range t.rows {
		for column := range t.widths {
			cell := ""
			if column < len(row) {
				cell = strings.ReplaceAll(row[column], "|", `\|`)
			}
			fmt.Fprintf(out, "| %s ", cell)
		}
		out.WriteString("|\n")
		if i == 0 {
			out.WriteString(strings.Repeat("|---", t.text) + strings.Repeat("|---:", len(t.widths)-t.text) + "|\n")
		}
	}
}

// number shows a 0 as a dot: nothing was measured, or nothing spent.
func number(n float64, decimals int) string {
	if n == 0 {
		return "·"
	}
	return fmt.Sprintf("%.*f", decimals, n)
}

// span is the least and the greatest value.
func span(s Spread, decimals int) string {
	return number(s.Min, decimals) + "–" + number(s.Max, decimals)
}

// rate shows thousands with one decimal and a k, millions with an M.
func rate(perSecond float64) string {
	switch {
	case perSecond > 0 && perSecond < 10: // of builds
		return fmt.Sprintf("%.1f", perSecond)
	case perSecond < 1000:
		return fmt.Sprintf("%.0f", perSecond)
	case perSecond >= 1e6:
		return fmt.Sprintf("%.1fM", perSecond/1e6)
	}
	return fmt.Sprintf("%.1fk", perSecond/1000)
}

// mebibytes shows an amount of memory.
func mebibytes(bytes int64) string { return number(float64(bytes)/(1<<20), 0) }
