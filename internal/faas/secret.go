package faas

import (
	"strings"
	"time"
)

// Bounds of secrets.
const (
	MaxSecretName   = 64       // bytes
	MaxSecret       = 64 << 10 // bytes of a value
	SecretsPerOwner = 100
)

// SecretNames says what names of secrets are.
const SecretNames = "capital letters, digits and underscores, a letter first, 64 bytes at most"

// Secret is a secret as it is stored: its value is sealed.
type Secret struct {
	Name      string
	Owner     string // as Caller.Owner has it; empty: nobody's in particular
	Key       string // that the value is sealed with
	Sealed    []byte
	CreatedAt time.Time
	UpdatedAt time.Time
}

// IsSecretName tells whether a secret may be called so.
func IsSecretName(name string) bool {
	return name != "" && len(name) <= MaxSecretName && name[0] >= 'A' && name[0] <= 'Z' &&
		strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == ""
}

// Secrets are values by the names of their secrets. They print as nothing.
type Secrets map[string]string

// String prints no value.
func (Secrets) String() string { return "[secrets]" }

// GoString prints no value.
func (Secrets) GoString() string { return "[secrets]" }

// MarshalJSON writes no value: what is sent of them is sent knowingly.
func (Secrets) MarshalJSON() ([]byte, error) { return []byte(`"[secrets]"`), nil }

// ErrNoSecret is the answer to a name of which the caller has no secret, whoever else has one.
var ErrNoSecret = &Error{Code: NotFound, Message: "you have no secret of that name"}

// ErrTooManySecrets is the answer to who has as many as one may have.
var ErrTooManySecrets = &Error{Code: Conflict, Message: "you have 100 secrets already: delete one before you make another"}
