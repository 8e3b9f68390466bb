package kube

import (
	"strings"
	"time"

	"envoke/internal/faas"
	"envoke/internal/selection"
)

// ownKeywords mean a language in the name of any function, as whole words of it.
var ownKeywords = map[string]faas.Language{
	"nodejs": faas.NodeJS, "node": faas.NodeJS, "javascript": faas.NodeJS, "js": faas.NodeJS,
	"python": faas.Python, "py": faas.Python,
	"rust": faas.Rust, "wasm": faas.Rust,
	"ruby": faas.Ruby,
}

// names tell the language of a function by the Services that there are.
type names struct {
	services []service // by name
	words    map[string]faas.Language
}

func namesOf(services []service) names {
	n := names{services: services, words: map[string]faas.Language{}}
	served := map[faas.Language]bool{}
	for _, s := range services {
		served[s.language] = true
	}
	for word, language := range ownKeywords {
		if served[language] {
			n.words[word] = language
		}
	}
	for _, s := range services {
		for _, word := range s.keywords {
			n.words[word] = s.language
		}
	}
	return n
}

// language is that of the Service that is called as the function; else of the one whose name
// and a dash it begins with, the longest; else the first of its words, between dashes, dots and
// underscores, that means one.
func (n names) language(function string) (found faas.Language, ok bool) {
	longest := -1
	for _, s := range n.services {
		if s.name == function {
			return s.language, true
		}
		if len(s.name) > longest && strings.HasPrefix(function, s.name+"-") {
			found, longest = s.language, len(s.name)
		}
	}
	if longest >= 0 {
		return found, true
	}
	for _, word := range strings.FieldsFunc(function, func(r rune) bool { return strings.ContainsRune("-._", r) }) {
		if language, ok := n.words[word]; ok {
			return language, true
		}
	}
	return "", false
}

// Select finds the function that a name means, by the Services of runtimes that there are now.
// The error is a *faas.Error.
func (h *Hosts) Select(place faas.Place, name string) (faas.Ref, error) {
	if err := h.known(); err != nil {
		return faas.Ref{}, &faas.Error{Code: faas.Unavailable, Message: "it is not known yet which runtimes there are; try again", Err: err}
	}
	h.mu.Lock()
	h.refresh(time.Now())
	known := h.names
	h.mu.Unlock()
	return selection.ByLanguage(place, name, known.language, "no Service of a runtime fits this name (RUNTIME_SELECTION_STRATEGY=discovery)")
}
