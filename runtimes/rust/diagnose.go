package rust

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"

	"envoke/internal/faas"
	"envoke/runtimes/fault"
)

// diagnostic is what the compiler says, as JSON:
// https://doc.rust-lang.org/rustc/json.html
type diagnostic struct {
	Message  string
	Level    string
	Code     *struct{ Code string }
	Spans    []span
	Children []diagnostic
	Rendered string
}

type span struct {
	FileName    string `json:"file_name"`
	LineStart   int    `json:"line_start"`
	ColumnStart int    `json:"column_start"`
	IsPrimary   bool   `json:"is_primary"`
	Expansion   *struct{ Span span }
}

// position is a place in the user's source, from 1.
type position struct{ line, column int }

// explain is what a caller is told of a build that failed: the first error and its place, and
// all of them as the compiler shows them.
func (b *Builder) explain(j job, l left) *faas.Error {
	found, rest := errorsIn(l.text)
	if l.starved || ranOutOfMemory(l.text) {
		e := invalid(fmt.Sprintf("the compiler ran out of memory: a build may have %d MiB", b.opt.MemoryMB))
		e.Details["limit"], e.Details["limit_mb"] = "memory", b.opt.MemoryMB
		return e
	}
	host := strings.NewReplacer(b.relative()...)
	if len(found) == 0 {
		e := invalid("the compiler ended without a word of an error: " + how(l.state))
		e.Details["stack_trace"] = fault.Cut(host.Replace(string(bytes.TrimSpace(rest))), fault.MaxStack)
		return e
	}
	first := found[0]
	message := first.summary()
	if first.Code != nil && first.Code.Code != "" {
		message += " (" + first.Code.Code + ")"
	}
	e := invalid(fault.Cut(host.Replace(message), fault.MaxMessage))
	e.Details["type"] = "CompileError"
	if at, ok := first.place(j); ok {
		e.Details["line"], e.Details["column"] = at.line, at.column
	}
	var all strings.Builder
	for _, d := range found {
		all.WriteString(d.shown(j))
	}
	e.Details["stack_trace"] = fault.Cut(host.Replace(strings.TrimSpace(all.String())), fault.MaxStack)
	return e
}

// errorsIn are the errors among what the compiler printed, and what is no JSON.
func errorsIn(text []byte) (found []diagnostic, rest []byte) {
	for line := range bytes.Lines(text) {
		var d diagnostic
		if json.Unmarshal(line, &d) != nil {
			rest = append(rest, line...)
			continue
		}
		// The last one only counts the others.
		if strings.HasPrefix(d.Level, "error") && !strings.HasPrefix(d.Message, "aborting due to") {
			found = append(found, d)
		}
	}
	return found, rest
}

// ranOutOfMemory recognises the last words of Rust's and of C++'s allocators.
func ranOutOfMemory(text []byte) bool {
	for _, words := range []string{"memory allocation of ", "std::bad_alloc", "LLVM ERROR: out of memory", "Cannot allocate memory"} {
		if bytes.Contains(text, []byte(words)) {
			return true
		}
	}
	return false
}

// isOfLinker tells an error that shows the linker's whole command, which is nothing to a
// caller.
func (d diagnostic) isOfLinker() bool { return strings.HasPrefix(d.Message, "linking with ") }

func (d diagnostic) summary() string {
	if d.isOfLinker() {
		return "the module could not be linked"
	}
	return d.Message
}

// shown is the error as the compiler shows it to people.
func (d diagnostic) shown(j job) string {
	if d.isOfLinker() {
		last := d.Children[max(0, len(d.Children)-1):]
		for _, child := range last {
			return "error: the module could not be linked: " + child.Message + "\n"
		}
	}
	if j.form == Fragment {
		return withoutBrace(d.Rendered)
	}
	return d.Rendered
}

// place is where the error is in the user's source: of the parts of it that the compiler
// marks the first, or where the macro was used that it comes from.
func (d diagnostic) place(j job) (position, bool) {
	for _, primary := range []bool{true, false} {
		for _, s := range d.Spans {
			if s.IsPrimary != primary {
				continue
			}
			if at, ok := s.place(j); ok {
				return at, true
			}
		}
	}
	return position{}, false
}

func (s span) place(j job) (position, bool) {
	lines := strings.Count(j.source, "\n") + 1
	for at := &s; ; at = &at.Expansion.Span {
		if at.FileName == userFile && at.LineStart <= lines {
			return j.unwrapped(position{at.LineStart, at.ColumnStart}), true
		}
		if at.Expansion == nil {
			return position{}, false
		}
	}
}

// unwrapped is a place in the user's file as a place in what was sent.
func (j job) unwrapped(at position) position {
	if j.form == Fragment && at.line == 1 {
		at.column = max(1, at.column-len(fragmentOpens))
	}
	return at
}

// What shows the first line of a fragment, with the brace that opens it.
var (
	braceColumn = regexp.MustCompile(regexp.QuoteMeta(userFile) + `:1:(\d+)`)
	braceLine   = regexp.MustCompile(`(?m)^(\s*1 \|[ /|]*)\{`)
)

// withoutBrace shows a fragment's first line as it was sent.
func withoutBrace(rendered string) string {
	rendered = braceColumn.ReplaceAllStringFunc(rendered, func(place string) string {
		var column int
		_, _ = fmt.Sscanf(place, userFile+":1:%d", &column) // it matched
		return fmt.Sprintf("%s:1:%d", userFile, max(1, column-len(fragmentOpens)))
	})
	return braceLine.ReplaceAllString(rendered, "${1} ")
}

// errLate says that a build took longer than it may.
func errLate(limit time.Duration) *faas.Error {
	e := invalid(fmt.Sprintf("the code did not compile within %d ms", limit.Milliseconds()))
	e.Details["timeout_ms"] = limit.Milliseconds()
	return e
}
