package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// format is how results are printed.
type format string

const (
	table  format = "table"
	asJSON format = "json"
)

func (f *format) String() string { return string(*f) }
func (*format) Type() string     { return "format" }

func (f *format) Set(s string) error {
	switch format(s) {
	case table, asJSON:
		*f = format(s)
		return nil
	}
	return fmt.Errorf("must be %s or %s", table, asJSON)
}

// show prints a value as JSON, or else as the rows that rows writes: cells end with
// tabs.
func (a *app) show(c *cobra.Command, value any, rows func(io.Writer)) error {
	if a.output == asJSON {
		return printJSON(c.OutOrStdout(), value)
	}
	w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
	rows(w)
	return w.Flush()
}

func printJSON(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}

// printResult prints JSON as it came, or indented for somebody who reads it.
func printResult(w io.Writer, result json.RawMessage) error {
	if !isTerminal(w) {
		_, err := fmt.Fprintf(w, "%s\n", result)
		return err
	}
	return indent(w, result)
}

func indent(w io.Writer, raw json.RawMessage) error {
	var out bytes.Buffer
	if err := json.Indent(&out, raw, "", "  "); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w, out.String())
	return err
}

// isTerminal tells whether a person is at the other end.
func isTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(file.Fd()), unix.TCGETS)
	return err == nil
}

// clean takes out what could steer a terminal: names, descriptions and logs are
// others' text.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}

// cleanLines is clean for text of several lines.
func cleanLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		lines[i] = clean(strings.ReplaceAll(line, "\t", "    "))
	}
	return strings.Join(lines, "\n")
}

// at is a time as a table shows it.
func at(t time.Time) string { return t.Local().Format(time.DateTime) }

// orDash is what a table shows for nothing.
func orDash[T comparable](v *T) string {
	if v == nil {
		return "-"
	}
	return clean(fmt.Sprint(*v))
}

func list(words []string) string { return first(clean(strings.Join(words, ",")), "-") }
