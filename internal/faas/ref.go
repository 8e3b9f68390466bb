package faas

import (
	"fmt"
	"strconv"
	"strings"
)

const (
	// MaxAlias bounds the name of an alias, in bytes.
	MaxAlias = 64
	// MaxVersion is the largest number of a version: all fit into 32 bits.
	MaxVersion = 999_999_999
)

// Ref is how a caller names a function: "<name>" is its current version,
// "<name>@<version>" that version, "<name>:<alias>" what the alias stands for.
type Ref struct {
	Name    Name
	Version int    // 0: not given
	Alias   string // empty: not given
}

func (r Ref) String() string {
	switch {
	case r.Version != 0:
		return r.Name.String() + "@" + strconv.Itoa(r.Version)
	case r.Alias != "":
		return r.Name.String() + ":" + r.Alias
	}
	return r.Name.String()
}

// In is the reference in a namespace.
func (r Ref) In(n Namespace) Ref {
	r.Name.Namespace = n
	return r
}

// Key is the reference with its namespace, as Name.Key.
func (r Ref) Key() string { return keyOf(r.Name.Namespace, r.String()) }

// ParseRefKey reads what Ref.Key wrote.
func ParseRefKey(text string) (Ref, error) {
	namespace, rest, found := strings.Cut(text, "/")
	if !found {
		return ParseRef(text)
	}
	if n := Namespace(namespace); n == "" || !n.Valid() {
		return Ref{}, badName("the function's namespace is none")
	}
	ref, err := ParseRef(rest)
	if err != nil {
		return Ref{}, err
	}
	return ref.In(Namespace(namespace)), nil
}

// Bare tells whether the reference is a name and nothing more.
func (r Ref) Bare() bool { return r == Ref{Name: r.Name} }

// ParseRef parses a reference. Versions are decimal numbers from 1 to MaxVersion
// without leading zeros. The error is an *Error of code INVALID_REQUEST, fit for
// the caller to read.
func ParseRef(s string) (Ref, error) { return ParseRefIn("", s) }

// ParseRefIn is ParseRef of a reference that the caller wrote in that place, which
// the error names.
func ParseRefIn(place Place, s string) (Ref, error) { return Served(nil).ParseRefIn(place, s) }

// ParseRefIn is the function of that name, whose errors offer these languages. It takes
// names of others too.
func (s Served) ParseRefIn(place Place, text string) (Ref, error) {
	end := strings.IndexAny(text, "@:")
	if end < 0 {
		end = len(text)
	}
	name, err := s.parseName(place, text[:end])
	if err != nil || end == len(text) {
		return Ref{Name: name}, err
	}
	ref, rest := Ref{Name: name}, text[end+1:]
	if text[end] == '@' {
		ref.Version, err = parseVersion(rest)
	} else {
		ref.Alias, err = rest, CheckAlias(rest)
	}
	if err != nil {
		return Ref{}, err
	}
	return ref, nil
}

func parseVersion(s string) (int, error) {
	version, err := strconv.Atoi(s)
	if err != nil || version < 1 || version > MaxVersion || s != strconv.Itoa(version) {
		return 0, badName(fmt.Sprintf("after '@' comes a version: a whole number from 1 to %d", MaxVersion))
	}
	return version, nil
}

// CheckAlias tells what is wrong with the name of an alias: 1 to MaxAlias bytes, of
// the same kind as titles, not of digits only, since those look like a version.
func CheckAlias(alias string) error {
	reason := checkTitle(alias)
	switch {
	case len(alias) > MaxAlias:
		reason = fmt.Sprintf("is longer than %d bytes", MaxAlias)
	case reason == "" && strings.Trim(alias, "0123456789") == "":
		reason = "must not be a number: write name@version for a version"
	}
	if reason != "" {
		return badName("the alias " + reason)
	}
	return nil
}
