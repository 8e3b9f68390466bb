package cli

import (
	"fmt"
	"regexp"

	"envoke/internal/faas"
)

// These look at text, not at code: only a server's language knows which form code has.
// What might be meant otherwise is let pass, since code that returns nothing is legal.
var (
	comment     = regexp.MustCompile(`(?m)^\s*(//|/?\*).*$`)
	exported    = regexp.MustCompile(`\bexports?\b`)
	returned    = regexp.MustCompile(`(?m)^return\b`)
	declaration = regexp.MustCompile(`(?m)^(?:async\s+)?(?:function\s+|(?:const|let|var)\s+)(handler|handle|main)\b`)
	answering   = regexp.MustCompile(`\b(result|handle|handler|exec|globals)\b|import\s+\*`)
)

// doubt says why code likely answers null to every call; "" where it does not, or
// where that cannot be told.
func doubt(code source) string {
	switch code.name.Language {
	case faas.NodeJS:
		return doubtScript(code)
	case faas.Python:
		if !answering.Match(code.content) {
			return code.path + " has no handler and assigns no result: its result is null in every call"
		}
	}
	return ""
}

// doubtScript finds a handler that is declared and named nowhere else.
func doubtScript(code source) string {
	script := comment.ReplaceAll(code.content, nil)
	declared := declaration.FindSubmatch(script)
	if declared == nil || exported.Match(script) || returned.Match(script) {
		return ""
	}
	name := string(declared[1])
	if named := regexp.MustCompile(`\b` + name + `\b`); len(named.FindAll(script, 2)) > 1 {
		return ""
	}
	return fmt.Sprintf("%s declares %s, and neither exports nor calls it: is module.exports = %s missing?", code.path, name, name)
}
