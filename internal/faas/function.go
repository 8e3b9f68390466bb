package faas

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"time"
)

// Digest names a version's content: lower-case hexadecimal SHA-256, 64 bytes.
type Digest string

// DigestOf is the content address of a script: equal language, source and compile
// options have equal digests. Options are the caller's raw JSON, or nil.
func DigestOf(language Language, source string, options json.RawMessage) Digest {
	h := sha256.New()
	for _, part := range []string{string(language), source, string(options)} {
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(len(part)))
		h.Write(length[:])
		h.Write([]byte(part))
	}
	return Digest(hex.EncodeToString(h.Sum(nil)))
}

// Script is code and what it was posted with, immutable and content-addressed.
type Script struct {
	Digest         Digest
	Language       Language
	Source         string
	CompileOptions json.RawMessage // an object, or nil
}

// NewScript makes a script and computes its digest.
func NewScript(language Language, source string, options json.RawMessage) Script {
	return Script{
		Digest:         DigestOf(language, source, options),
		Language:       language,
		Source:         source,
		CompileOptions: options,
	}
}

// Function is code registered under a name, as its current version.
type Function struct {
	Name        Name
	Description string
	Script      Script
	Version     int // 1, 2, … ; each is an immutable Script. 0: a session's own script
	Schema      json.RawMessage
	Examples    json.RawMessage
	Tags        []string
	UserID      string        // who registered it; empty for the seeds
	Timeout     time.Duration // 0: the default of 30 s
	CacheTTL    time.Duration // 0: results are not cached
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

// Owner is whose worker runs the function.
func (f Function) Owner() string { return "function:" + f.UserID }

// Type tells a registered function from a session's own script in a listing.
func (f Function) Type() FunctionType {
	if f.Version == 0 {
		return Dynamic
	}
	return Predefined
}

// FunctionType is where an item of a listing comes from.
type FunctionType string

// The types of the wire contract.
const (
	Predefined FunctionType = "predefined" // registered under its name
	Dynamic    FunctionType = "dynamic"    // a live session's own script; Version is 0
)

// FunctionQuery selects functions of a listing. Empty fields select all.
type FunctionQuery struct {
	Type     FunctionType
	Language Language
	UserID   string
	Tag      string
	Page     int // from 1
	PerPage  int // 1 to 100
}
