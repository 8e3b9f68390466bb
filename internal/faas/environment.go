package faas

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Bounds of an environment.
const (
	MaxVariables    = 64
	MaxVariableName = 128      // bytes
	MaxEnvironment  = 32 << 10 // bytes of its texts in all
	// MaxResolved bounds an environment with the values of its secrets, in bytes.
	MaxResolved = 512 << 10
)

// Environment is what a function finds in the environment of its worker, by name.
type Environment map[string]Variable

// Variable is a text, or stands for the value of a secret.
type Variable struct {
	Text   string
	Secret string // its name; empty: it is the text
}

type secretVariable struct {
	Secret string `json:"secret"`
}

// MarshalJSON writes a text as a string, and a secret as {"secret":"NAME"}.
func (v Variable) MarshalJSON() ([]byte, error) {
	if v.Secret != "" {
		return json.Marshal(map[string]string{"secret": v.Secret})
	}
	return json.Marshal(v.Text)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (v *Variable) UnmarshalJSON(raw []byte) error {
	if len(raw) > 0 && raw[0] == '"' {
		*v = Variable{}
		return json.Unmarshal(raw, &v.Text)
	}
	var secret secretVariable
	if err := json.Unmarshal(raw, &secret); err != nil {
		return err
	}
	*v = Variable{Secret: secret.Secret}
	return nil
}

// JSON is the environment as it is stored and sent: equal ones are equal, none is nil.
func (e Environment) JSON() json.RawMessage {
	if len(e) == 0 {
		return nil
	}
	raw, _ := json.Marshal(e) // of strings: it cannot fail
	return raw
}

// ParseEnvironment reads what JSON has written.
func ParseEnvironment(raw []byte) (e Environment, err error) {
	if len(raw) == 0 {
		return nil, nil
	}
	if err := json.Unmarshal(raw, &e); err != nil {
		return nil, fmt.Errorf("an environment that makes no sense: %w", err)
	}
	return e, nil
}

// Size is what it takes in memory, in bytes, about.
func (e Environment) Size() (size int64) {
	for name, variable := range e {
		size += int64(len(name) + len(variable.Text) + len(variable.Secret))
	}
	return size
}

// With is the environment with another's entries added, and in place of its own.
func (e Environment) With(others Environment) Environment {
	if len(others) == 0 {
		return e
	}
	merged := make(Environment, len(e)+len(others))
	maps.Copy(merged, e)
	maps.Copy(merged, others)
	return merged
}

// Secrets are the names of the secrets that it stands on, in their order.
func (e Environment) Secrets() []string {
	var names []string
	for _, variable := range e {
		if variable.Secret != "" {
			names = append(names, variable.Secret)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Check tells what keeps it from being a function's. The error is an *Error of code
// INVALID_REQUEST, which holds none of its texts.
func (e Environment) Check() error {
	if len(e) > MaxVariables {
		return badVariable("environment", fmt.Sprintf("may have %d entries at most", MaxVariables))
	}
	size := 0
	for _, name := range slices.Sorted(maps.Keys(e)) {
		member, variable := fmt.Sprintf("environment.%.128s", name), e[name]
		switch {
		case !isVariableName(name):
			return badVariable(member, fmt.Sprintf("is no name of a variable: letters, digits and underscores, no digit first, %d bytes at most", MaxVariableName))
		case reserved(name):
			return badVariable(member, "is not for functions to set: it would change how their worker runs")
		case variable.Secret != "" && !IsSecretName(variable.Secret):
			return badVariable(member+".secret", "is no name of a secret: "+SecretNames)
		case strings.ContainsRune(variable.Text, 0):
			return badVariable(member, "has a NUL in it, which no environment can have")
		}
		size += len(variable.Text)
	}
	if size > MaxEnvironment {
		return badVariable("environment", fmt.Sprintf("has more than %d bytes of texts", MaxEnvironment))
	}
	return nil
}

func badVariable(member, reason string) error {
	return &Error{Code: InvalidRequest, Message: member + " " + reason, Details: map[string]any{"member": member}}
}

func isVariableName(name string) bool {
	for i := range len(name) {
		c := name[i]
		letter := c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c == '_'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return name != "" && len(name) <= MaxVariableName
}

// reserved tells whether an interpreter, its libraries or Envoke would heed the variable:
// whatever its case, since some look at both.
func reserved(name string) bool {
	name = strings.ToUpper(name)
	switch name {
	case "PATH", "HOME", "TMPDIR", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "GLIBC_TUNABLES":
		return true
	}
	return slices.ContainsFunc([]string{"LD_", "NODE_", "PYTHON", "RUBY", "GEM_", "OPENSSL_", "MALLOC_", "ENVOKE_", "__"}, func(prefix string) bool {
		return strings.HasPrefix(name, prefix)
	})
}

// Resolved is an environment with the values of its secrets. It prints none of them.
type Resolved struct {
	values map[string]string
	id     string
	err    *Error
}

// Resolve puts in the values of the secrets, by their names. Nil: there is nothing in it.
func (e Environment) Resolve(secrets Secrets) *Resolved {
	if len(e) == 0 {
		return nil
	}
	r := &Resolved{values: make(map[string]string, len(e))}
	mac, size := hmac.New(sha256.New, resolvedKey()), 0
	for _, name := range slices.Sorted(maps.Keys(e)) {
		value := e[name].Text
		if secret := e[name].Secret; secret != "" {
			var ok bool
			if value, ok = secrets[secret]; !ok {
				return &Resolved{err: noSecretFor(secret)}
			}
		}
		r.values[name] = value
		if size += len(name) + len(value); size > MaxResolved {
			return &Resolved{err: badResolved("is larger than 512 KiB with its secrets")}
		}
		for _, part := range []string{name, value} {
			mac.Write(binary.BigEndian.AppendUint32(nil, uint32(len(part))))
			mac.Write([]byte(part))
		}
	}
	r.id = string(mac.Sum(nil))
	return r
}

// resolvedKey keeps ids of environments from telling anything of what is in them.
var resolvedKey = sync.OnceValue(func() []byte {
	key := make([]byte, sha256.Size)
	_, _ = rand.Read(key) // never fails (crypto/rand)
	return key
})

// Values are what the worker gets, by name. Who gets them must not change them.
func (r *Resolved) Values() map[string]string {
	if r == nil {
		return nil
	}
	return r.values
}

// ID is equal for equal values, within one process. Empty: there are none.
func (r *Resolved) ID() string {
	if r == nil {
		return ""
	}
	return r.id
}

// Size is what it takes in memory, in bytes, about.
func (r *Resolved) Size() (size int64) {
	for name, value := range r.Values() {
		size += int64(len(name) + len(value))
	}
	return size
}

// Err tells why it is nobody's to run with, such as a secret that is not there. It is an *Error.
func (r *Resolved) Err() error {
	if r == nil || r.err == nil {
		return nil
	}
	return r.err
}

func noSecretFor(name string) *Error {
	e := badResolved(fmt.Sprintf("needs the secret %s, which its owner does not have, or which cannot be read", name))
	e.Details["secret"] = name
	return e
}

func badResolved(reason string) *Error {
	return &Error{
		Code: RuntimeError, Message: "the function's environment " + reason,
		Details: map[string]any{"component": InControl, "type": "EnvironmentError"},
	}
}

// String prints no value.
func (r *Resolved) String() string { return "[environment]" }

// GoString prints no value.
func (r *Resolved) GoString() string { return "[environment]" }
