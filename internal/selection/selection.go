// Package selection finds the function that a caller's name means: by the prefix of
// its language, or by a file that maps names to languages
// (RUNTIME_SELECTION_STRATEGY, RUNTIME_MAPPINGS_FILE).
package selection

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/go-json-experiment/json"

	"envoke/internal/faas"
)

// maxName bounds a name that is compared with patterns, in bytes: a language, a dash
// and a title.
const maxName = faas.MaxTitle + 16

// Mappings map names to languages. The first that matches wins.
type Mappings struct{ list []mapping }

type mapping struct {
	matches  func(name string) bool
	language faas.Language
}

// entry is one mapping of the file.
type entry struct {
	Pattern     *string       `json:"pattern"`
	RuntimeType faas.Language `json:"runtime_type"`
	IsRegex     bool          `json:"is_regex"`
}

// Open reads a file of mappings: a JSON list of {pattern, runtime_type, is_regex}. A
// pattern is a part of the name, or with is_regex a regular expression (RE2) that
// matches anywhere in it. The error names the file and every entry that is wrong.
func Open(path string) (*Mappings, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err // which names the file
	}
	m, err := parse(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

func parse(raw []byte) (*Mappings, error) {
	var entries []entry
	if err := json.Unmarshal(raw, &entries, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("it must be a JSON list of {pattern, runtime_type, is_regex}: %w", err)
	}
	if len(entries) == 0 {
		return nil, errors.New("it has no entries, so that no name would be a function's")
	}
	var (
		m      Mappings
		faults []error
	)
	for i, e := range entries {
		mapped, err := e.compile()
		if err != nil {
			faults = append(faults, fmt.Errorf("entry %d: %w", i+1, err))
		}
		m.list = append(m.list, mapped)
	}
	return &m, errors.Join(faults...)
}

func (e entry) compile() (mapping, error) {
	var faults []error
	if !e.RuntimeType.Known() {
		faults = append(faults, fmt.Errorf("runtime_type %q is none of %v", e.RuntimeType, faas.Languages()))
	}
	m := mapping{language: e.RuntimeType}
	switch {
	case e.Pattern == nil || *e.Pattern == "":
		faults = append(faults, errors.New("pattern is missing or empty"))
	case e.IsRegex:
		regex, err := regexp.Compile(*e.Pattern)
		if err != nil {
			faults = append(faults, fmt.Errorf("pattern: %w", err))
			break
		}
		m.matches = regex.MatchString
	default:
		m.matches = func(name string) bool { return strings.Contains(name, *e.Pattern) }
	}
	return m, errors.Join(faults...)
}

// Select finds the function that a name means, or a name with @version or :alias.
// The place is where the caller wrote it.
// What matches a mapping of python is called python-<name>; a name that begins so
// already stays as it is. The error is a *faas.Error of code INVALID_REQUEST.
func (m *Mappings) Select(place faas.Place, name string) (faas.Ref, error) {
	return ByLanguage(place, name, m.language, "no mapping of names to runtimes matches this name (RUNTIME_MAPPINGS_FILE)")
}

func (m *Mappings) language(bare string) (faas.Language, bool) {
	for _, mapping := range m.list {
		if mapping.matches(bare) {
			return mapping.language, true
		}
	}
	return "", false
}

// ByLanguage finds the function that a name means, whose language find tells of the bare name.
// Where find knows none, the refusal is what the caller is told.
func ByLanguage(place faas.Place, name string, find func(bare string) (faas.Language, bool), refusal string) (faas.Ref, error) {
	bare := name
	if end := strings.IndexAny(name, "@:"); end >= 0 {
		bare = name[:end]
	}
	if bare == "" || len(bare) > maxName {
		return faas.ParseRefIn(place, name) // which says what is wrong with it
	}
	language, ok := find(bare)
	if !ok {
		return faas.Ref{}, &faas.Error{Code: faas.InvalidRequest, Message: refusal}
	}
	if prefix := string(language) + "-"; !strings.HasPrefix(name, prefix) {
		name = prefix + name
	}
	return faas.ParseRefIn(place, name)
}
