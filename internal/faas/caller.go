package faas

import (
	"fmt"
	"slices"
	"strings"
)

// Headers that say who calls, to control and to runtime hosts. Envoy strips them from what
// callers send and sets them itself, so that there is one verified caller, however it has
// proved itself. Without UserHeader nobody is named.
const (
	UserHeader   = "x-user-id"
	ScopesHeader = "x-envoke-scopes" // separated by spaces
	// CheckedHeader tells that callers are checked: who is not named is nobody.
	CheckedHeader = "x-envoke-checked"
)

// UserPattern is what a user's id may be: printable ASCII with no space at either end.
const UserPattern = "[!-~]([ -~]*[!-~])?"

// MaxUser bounds a user's id, in bytes.
const MaxUser = 256

// ValidUser tells whether it may be a user's id.
func ValidUser(id string) bool {
	return id != "" && len(id) <= MaxUser && id == strings.TrimSpace(id) &&
		!strings.ContainsFunc(id, func(r rune) bool { return r < ' ' || r > '~' })
}

// ErrLongUser is the answer to who has a longer one.
var ErrLongUser = &Error{Code: Forbidden, Message: "the caller's user id is longer than 256 bytes"}

// OwnUser calls for the process itself.
const OwnUser = "envoke"

// Scope is a right that a caller may have.
type Scope string

// The scopes of the wire contract; ExecuteScope has those of single languages.
const (
	ExecuteAll     Scope = "execute:all"
	ReadFunctions  Scope = "read:functions"
	WriteFunctions Scope = "write:functions" // reads them too
	Admin          Scope = "admin"           // has all rights
)

// ExecuteScope is the right to run code of one language.
func ExecuteScope(l Language) Scope { return "execute:" + Scope(l) }

// AllScopes lists every scope.
func AllScopes() []Scope {
	scopes := []Scope{ExecuteAll}
	for _, language := range Languages() {
		scopes = append(scopes, ExecuteScope(language))
	}
	return append(scopes, ReadFunctions, WriteFunctions, Admin)
}

// Known tells whether it is one of AllScopes.
func (s Scope) Known() bool { return slices.Contains(scopes, s) }

var scopes = AllScopes()

// Scopes are the rights of one caller.
type Scopes []Scope

// ParseScopes reads scopes that are separated by spaces. The error is an *Error of code
// INVALID_REQUEST.
func ParseScopes(text string) (Scopes, error) {
	var scopes Scopes
	for field := range strings.FieldsSeq(text) {
		if !Scope(field).Known() {
			return nil, &Error{Code: InvalidRequest, Message: fmt.Sprintf("there is no scope %q: the scopes are %s", field, Scopes(AllScopes()))}
		}
		scopes = append(scopes, Scope(field))
	}
	return scopes, nil
}

// ScopesOf are the scopes in a text that may speak of others too, as tokens do, and what a
// newer Envoke has stored.
func ScopesOf(text string) (scopes Scopes) {
	for field := range strings.SplitSeq(text, " ") { // as Envoy does
		if Scope(field).Known() {
			scopes = append(scopes, Scope(field))
		}
	}
	return scopes
}

func (s Scopes) String() string {
	texts := make([]string, len(s))
	for i, scope := range s {
		texts[i] = string(scope)
	}
	return strings.Join(texts, " ")
}

// Allow tells whether one of the scopes is enough. None needed is enough for everybody.
func (s Scopes) Allow(enough ...Scope) bool {
	return len(enough) == 0 || slices.ContainsFunc(enough, func(scope Scope) bool { return slices.Contains(s, scope) })
}

// operations are all that a request may be for.
var operations = []Operation{
	Initialize, Execute, OneShot, Invoke, InvokeHTTP, SessionRead, FunctionRead, FunctionWrite, KeyWrite, SecretWrite, AuditRead, ConfigWrite, Health, Document,
}

// Known tells whether it is the name of an operation.
func (o Operation) Known() bool { return slices.Contains(operations, o) }

// Needs lists the scopes of which a caller must have one to do the operation with a
// function of the language; empty: everybody may. An operation that is not known needs
// Admin. It is the one table of what callers may do.
func (o Operation) Needs(language Language) []Scope {
	switch o {
	case Initialize, OneShot, Execute, Invoke, InvokeHTTP:
		return []Scope{ExecuteAll, ExecuteScope(language), Admin}
	case SessionRead: // of one's own; see Session
		return []Scope{ExecuteAll, ExecuteScope(language), Admin}
	case FunctionRead:
		return []Scope{ReadFunctions, WriteFunctions, Admin}
	case FunctionWrite, SecretWrite:
		return []Scope{WriteFunctions, Admin}
	case KeyWrite, AuditRead, ConfigWrite:
		return []Scope{Admin}
	case Health, Document:
		return nil
	}
	return []Scope{Admin}
}

// Caller is who has sent a request, verified.
type Caller struct {
	Namespace Namespace
	UserID    string // empty: nobody in particular
	Scopes    Scopes
	Proof     string // how it has proved who it is; see Actor
}

// Is tells whether the caller is that user of that namespace: equal ids in two namespaces are
// two users. It is how callers are compared, everywhere.
func (c Caller) Is(n Namespace, user string) bool { return c.UserID == user && c.Namespace == n }

// Owner is the caller as an owner of secrets and workers.
func (c Caller) Owner() string { return OwnerOf(c.Namespace, c.UserID) }

// May tells whether the caller may change what belongs to that user of that namespace.
func (c Caller) May(n Namespace, user string) bool { return c.Is(n, user) || c.Administers(n) }

// Administers tells whether the caller has all rights in a namespace: in its own, and one of
// the default namespace in all.
func (c Caller) Administers(n Namespace) bool {
	return c.Scopes.Allow(Admin) && (c.Namespace == "" || c.Namespace == n)
}
