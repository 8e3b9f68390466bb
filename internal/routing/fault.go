package routing

import (
	"fmt"
	"strings"
)

// Fault is what is wrong with a declaration, and where.
type Fault struct {
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`   // from 1; 0: of no text
	Column int    `json:"column,omitempty"` // from 1, in characters
	// Field is where it is in the declaration: routes[2].rules[0].matches[0].path.value. Of a
	// Kubernetes source it may name the object.
	Field   string `json:"field,omitempty"`
	Message string `json:"message"`
}

// Error is the fault on one line, as compilers write it.
func (f Fault) Error() string {
	var b strings.Builder
	if f.File != "" {
		b.WriteString(f.File + ":")
	}
	if f.Line > 0 {
		fmt.Fprintf(&b, "%d:%d:", f.Line, f.Column)
	}
	for _, part := range []string{f.Field, f.Message} {
		switch {
		case part == "":
		case b.Len() == 0:
			b.WriteString(part)
		case strings.HasSuffix(b.String(), ":"):
			b.WriteString(" " + part)
		default:
			b.WriteString(": " + part)
		}
	}
	return b.String()
}

// Faults are all that is wrong with a declaration, as one error.
type Faults []Fault

func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fault.Error()
	}
	return strings.Join(lines, "\n")
}
