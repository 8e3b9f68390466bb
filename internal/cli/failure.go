package cli

import (
	"errors"
	"fmt"
	"strings"

	"envoke/internal/client"
)

// failure is a server's error with what helps to find the fault in the code.
type failure struct {
	*client.ReplyError

	source *source // where the code is local
}

// explain adds the place in the code to an error of the function's, or what a tool said
// that installs its dependencies.
func explain(err error, code *source) error {
	var reply *client.ReplyError
	if !errors.As(err, &reply) || reply.Number("line") == 0 && reply.Text("stack_trace") == "" && reply.Text("output") == "" {
		return err
	}
	return &failure{ReplyError: reply, source: code}
}

func (f *failure) Unwrap() error { return f.ReplyError }

func (f *failure) Error() string {
	var out strings.Builder
	out.WriteString(f.ReplyError.Error())
	if line := f.Number("line"); line > 0 {
		out.WriteString("\n\n  " + f.place(line))
	}
	for _, detail := range []string{"stack_trace", "output"} {
		if text := f.Text(detail); text != "" {
			out.WriteString("\n\n  " + strings.ReplaceAll(cleanLines(strings.TrimSpace(text)), "\n", "\n  "))
		}
	}
	return out.String()
}

// place is the line of the code with a mark below its column.
func (f *failure) place(line int) string {
	column := f.Number("column")
	if f.source == nil {
		return fmt.Sprintf("line %d, column %d", line, column)
	}
	where := fmt.Sprintf("%s:%d:%d", f.source.path, line, column)
	text := []rune(f.source.line(line))
	if len(text) == 0 {
		return where
	}
	where += fmt.Sprintf("\n%5d | %s", line, cleanLines(string(text)))
	if column > 0 && column <= len(text) {
		before := []rune(cleanLines(string(text[:column-1])))
		where += fmt.Sprintf("\n%5s | %*s", "", len(before)+1, "^")
	}
	return where
}
