package tlsfiles

import "log/slog"

// PrivateKey is the text of a key, which does not print.
type PrivateKey string

const redacted = "[redacted]"

// String keeps the key out of what is formatted.
func (PrivateKey) String() string { return redacted }

// GoString does so for %#v.
func (PrivateKey) GoString() string { return redacted }

// LogValue does so for slog.
func (PrivateKey) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText does so for JSON.
func (PrivateKey) MarshalText() ([]byte, error) { return []byte(redacted), nil }
