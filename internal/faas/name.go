package faas

import (
	"fmt"
	"slices"
	"strings"
)

// Language is a runtime's name on the wire, in cluster names and in labels.
type Language string

// The languages of the wire contract.
const (
	NodeJS Language = "nodejs"
	Python Language = "python"
	Rust   Language = "rust"
	Ruby   Language = "ruby"
)

// rows are all languages, in the order of their digit in session ids.
var rows = []struct {
	language   Language
	extensions []string // of files of its code; the first is that of stack traces
	optional   bool
}{
	{NodeJS, []string{".js", ".mjs", ".cjs"}, false},
	{Python, []string{".py"}, false},
	{Rust, []string{".rs", ".wasm"}, false},
	{Ruby, []string{".rb"}, true},
}

var languages = list()

func list() (all []Language) {
	for _, row := range rows {
		all = append(all, row.language)
	}
	return all
}

// Languages lists every known language in the order of its digit in session ids.
func Languages() []Language { return slices.Clone(languages) }

// Known tells whether it is one of Languages.
func (l Language) Known() bool { return l.index() >= 0 }

func (l Language) index() int { return slices.Index(languages, l) }

// Digit is that of session ids, from 1; 0 for an unknown language.
func (l Language) Digit() int { return l.index() + 1 }

// Optional tells whether only those installations have the language whose settings ask
// for it.
func (l Language) Optional() bool { return l.Known() && rows[l.index()].optional }

// Extensions are what files of the language's code end with.
func (l Language) Extensions() []string {
	if !l.Known() {
		return nil
	}
	return rows[l.index()].extensions
}

// Filename is what stack traces call the language's code.
func (l Language) Filename() string {
	if !l.Known() {
		return "function"
	}
	return "function" + l.Extensions()[0]
}

// Served are the languages that an installation serves, which its errors offer; nil: those
// that every one has.
type Served []Language

// Either lists them for people: "nodejs, python or rust", each with what is to follow it.
func (s Served) Either(suffix string) string {
	offered := s
	if offered == nil {
		offered = slices.DeleteFunc(Languages(), Language.Optional)
	}
	var out strings.Builder
	for i, language := range offered {
		switch {
		case i == 0:
		case i == len(offered)-1:
			out.WriteString(" or ")
		default:
			out.WriteString(", ")
		}
		out.WriteString(string(language) + suffix)
	}
	return out.String()
}

// Either lists the languages that every installation has.
func Either(suffix string) string { return Served(nil).Either(suffix) }

// MaxTitle bounds the title of a function, in bytes.
const MaxTitle = 128

// Name is what a caller calls a function: "<language>-<title>". In which namespace is not the
// caller's to say there: whoever parses a name sets it.
type Name struct {
	Namespace Namespace
	Language  Language
	Title     string
}

// String leaves out the namespace: callers see their own only.
func (n Name) String() string { return string(n.Language) + "-" + n.Title }

// Key is the name with its namespace, for control and hosts to speak of it: as String in the
// default one, else "<namespace>/<language>-<title>". What does not know namespaces refuses it,
// rather than take it for the function of that name in the default one.
func (n Name) Key() string { return keyOf(n.Namespace, n.String()) }

func keyOf(n Namespace, text string) string {
	if n == "" {
		return text
	}
	return string(n) + "/" + text
}

// ParseKey reads what Name.Key wrote.
func ParseKey(text string) (Name, error) {
	ref, err := ParseRefKey(text)
	if err == nil && !ref.Bare() {
		err = badName("the function's name has a version or an alias")
	}
	return ref.Name, err
}

// Place is where a caller wrote a name, for errors to say. Empty: anywhere.
type Place string

// The places that requests have for a name.
const (
	InHeader Place = "the Language-Title header"
	InPath   Place = "the path"
)

// of is what of a name an error speaks of, with its place.
func (p Place) of(part string) string {
	if p == "" {
		return part
	}
	return part + " in " + string(p)
}

// ParseName parses "<language>-<title>". The title has 1 to MaxTitle bytes of
// [A-Za-z0-9._-], begins with a letter or a digit and holds no "..".
// The error is an *Error of code INVALID_REQUEST, fit for the caller to read.
func ParseName(s string) (Name, error) { return Served(nil).parseName("", s) }

func (s Served) parseName(place Place, text string) (Name, error) {
	if text == "" {
		return Name{}, badName(place.of("the function's name") + " is missing: send <language>-<title>, such as nodejs-hello")
	}
	for _, language := range languages {
		title, ok := strings.CutPrefix(text, string(language)+"-")
		if !ok {
			continue
		}
		if reason := checkTitle(title); reason != "" {
			return Name{}, badName(place.of("the title") + " " + reason)
		}
		return Name{Language: language, Title: title}, nil
	}
	return Name{}, badName(place.of("the function's name") + " must begin with " + s.Either("-") + ", as nodejs-calculator does")
}

// CheckTitle tells what is wrong with the title of a function, as ParseName does.
func CheckTitle(title string) error {
	if reason := checkTitle(title); reason != "" {
		return badName("the title " + reason)
	}
	return nil
}

func badName(message string) *Error {
	return &Error{Code: InvalidRequest, Message: message}
}

func checkTitle(title string) string {
	switch {
	case title == "":
		return "is empty"
	case len(title) > MaxTitle:
		return fmt.Sprintf("is longer than %d bytes", MaxTitle)
	case !isAlphanumeric(title[0]):
		return "must begin with a letter or a digit"
	case strings.Contains(title, ".."):
		return "must not contain '..'"
	}
	for i := range len(title) {
		if c := title[i]; !isAlphanumeric(c) && c != '.' && c != '_' && c != '-' {
			return "may hold letters, digits, '.', '_' and '-' only"
		}
	}
	return ""
}

func isAlphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}
