package faas

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"time"
)

// Config is a version of the routes that operators declare by the API.
type Config struct {
	Version   int    // from 1; the number of one that was put, never of another
	Document  string // as it was put, of YAML or JSON; lists leave it out
	Bytes     int    // of the document
	Digest    Digest // of the document
	CreatedAt time.Time
	CreatedBy string // a user's id; empty: nobody in particular
	Current   bool   // it is what is to be served
}

const (
	// ConfigsKept is how many versions are kept: those that were put last, and the current one.
	ConfigsKept = 100
	// AnyConfig is what is expected to be current where nobody knows.
	AnyConfig = -1
)

// NewConfig is a document that somebody puts. Its version and time are the store's to give.
func NewConfig(document, user string) Config {
	sum := sha256.Sum256([]byte(document))
	return Config{Document: document, Bytes: len(document), Digest: Digest(hex.EncodeToString(sum[:])), CreatedBy: user}
}

// ErrNoConfig is the answer to who asks for a version that is not there, or for the current
// one where none was ever put.
var ErrNoConfig = &Error{Code: NotFound, Message: "there is no such version of the config: it was never put, or is one of the oldest, which are not kept"}

// ErrOtherConfig is the answer to who changes another version than the one that was meant.
func ErrOtherConfig(current, expected int) *Error {
	return &Error{
		Code: Conflict, Message: "the config is at version " + strconv.Itoa(current) + " by now, and version " + strconv.Itoa(expected) + " was to be changed: read it again, so that nothing of it is lost",
		Details: map[string]any{"current_version": current},
	}
}

// ConfigTarget is the name of the config in the audit log.
const ConfigTarget = "config"

// AuditConfig tells of a new version of the config, which is the current one.
func AuditConfig(c *Config) AuditEntry {
	return audit(ConfigPut, "", ConfigTarget, map[string]any{"version": c.Version, "digest": string(c.Digest), "bytes": c.Bytes})
}

// AuditCurrentConfig tells which version of the config is the current one from now on.
func AuditCurrentConfig(version int) AuditEntry {
	return audit(ConfigRollback, "", ConfigTarget, map[string]any{"version": version})
}
