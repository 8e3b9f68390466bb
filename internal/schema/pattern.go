package schema

import (
	"fmt"
	"regexp"
	"regexp/syntax"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// maxInstructions bounds a pattern. A short one may stand for very many: counts repeat
// what is before them.
const maxInstructions = 10_000

// pattern is a regular expression whose cost is known: for each byte of a text, at
// most all of its instructions.
type pattern struct {
	*regexp.Regexp
	instructions int
}

// compilePattern is what a schema's pattern becomes.
func compilePattern(text string) (jsonschema.Regexp, error) {
	parsed, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, err
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return nil, err
	}
	if n := len(program.Inst); n > maxInstructions {
		return nil, fmt.Errorf("it stands for %d instructions, over %d", n, maxInstructions)
	}
	compiled, err := regexp.Compile(text)
	if err != nil {
		return nil, err
	}
	return &pattern{Regexp: compiled, instructions: len(program.Inst)}, nil
}
