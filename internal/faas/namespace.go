package faas

import (
	"fmt"
	"strings"
)

// Namespace is what a team has of an installation: callers of one see nothing of another.
// Who has verified a caller says which is the caller's. It is lower-case letters, digits and
// dashes, as a label of DNS. The zero value is the default one: whatever has no other is there.
type Namespace string

// DefaultNamespace is what people call the default one.
const DefaultNamespace = "default"

// NamespaceHeader says of which namespace the caller is, to control and to runtime hosts, as
// UserHeader says who it is. Without it that is the default one.
const NamespaceHeader = "x-envoke-namespace"

// IssuerHeader says whose token a caller has shown whose issuer says of which namespace it is.
// Only Envoy reads it.
const IssuerHeader = "x-envoke-issuer"

const (
	// MaxNamespace bounds a namespace, in bytes.
	MaxNamespace = 63
	// NamespacePattern is what a namespace may be, but for LongNamespace and DefaultNamespace.
	NamespacePattern = "[a-z0-9]([a-z0-9-]*[a-z0-9])?"
	// LongNamespace is what is longer than MaxNamespace. As one expression with NamespacePattern
	// it would be larger than Envoy takes.
	LongNamespace = "[!-~]{64}[!-~]*"
)

// ParseNamespace reads what people wrote. The error is an *Error of code INVALID_REQUEST.
func ParseNamespace(text string) (Namespace, error) {
	switch n := Namespace(text); {
	case text == DefaultNamespace:
		return "", nil
	case text == "" || !n.Valid():
		return "", &Error{Code: InvalidRequest, Message: fmt.Sprintf("%.80q is no namespace: it has lower-case letters, digits and dashes, begins and ends with no dash, and is %d bytes long at most", text, MaxNamespace)}
	default:
		return n, nil
	}
}

// Valid tells whether it may be a namespace; the default one is.
func (n Namespace) Valid() bool {
	if len(n) > MaxNamespace || n == DefaultNamespace {
		return false
	}
	for i := range len(n) {
		c, edge := n[i], i == 0 || i == len(n)-1
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && (c != '-' || edge) {
			return false
		}
	}
	return true
}

// String is for people.
func (n Namespace) String() string {
	if n == "" {
		return DefaultNamespace
	}
	return string(n)
}

// ownerMark ends the namespace in the text of an owner. It is in no user's id, and in no
// namespace.
const ownerMark = "\t"

// OwnerOf is a user of a namespace as one text, by which secrets and workers are told apart.
// No two have the same, and one of the default namespace has the user's id.
func OwnerOf(n Namespace, user string) string {
	if n == "" {
		return user
	}
	return string(n) + ownerMark + user
}

// UserOf is the id of the user in an owner's text.
func UserOf(owner string) string {
	_, user := SplitOwner(owner)
	return user
}

// SplitOwner is what OwnerOf made a text of.
func SplitOwner(owner string) (n Namespace, user string) {
	if n, user, ok := strings.Cut(owner, ownerMark); ok {
		return Namespace(n), user
	}
	return "", owner
}

// ErrOtherNamespace is the answer to who names a namespace that is not the caller's.
var ErrOtherNamespace = &Error{Code: Forbidden, Message: "only an administrator of the default namespace may name another than its own"}
