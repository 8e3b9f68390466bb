package faas

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"hash/fnv"
	"maps"
	"slices"
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
	// Dependencies are the files that pin the packages that it needs: an object of texts by
	// the files' names, or nil.
	Dependencies json.RawMessage
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

// With is the script with dependencies, which are part of its digest; nil: without.
func (s Script) With(dependencies json.RawMessage) Script {
	s.Digest, s.Dependencies = DigestOf(s.Language, s.Source, s.CompileOptions), dependencies
	if dependencies != nil {
		s.Digest = DigestOf(s.Language, string(s.Digest), dependencies)
	}
	return s
}

// Function is one version of what is registered under a name. A version is
// immutable: its number stands for the same content for ever.
type Function struct {
	Name        Name
	Description string
	Script      Script
	Version     int // 1, 2, … ; 0: a session's own script
	Schema      json.RawMessage
	Examples    json.RawMessage
	Tags        []string
	UserID      string        // who registered the function; empty for the seeds
	Timeout     time.Duration // 0: the default of 30 s
	CacheTTL    time.Duration // 0: results are not cached
	MemoryMB    int           // limit of its worker, in MiB; 0: the operator's
	Limits      Limits        // of its calls
	Network     Network       // that its worker has
	Environment Environment   // of its worker
	CreatedAt   time.Time     // of the function, as UpdatedAt is
	UpdatedAt   time.Time     // when its current version was made so
	// Weights is set where the function was found by an alias that splits: the
	// percentage of sessions or calls that go to other versions (see Pick).
	Weights map[int]int
	// AliasEnvironment is set where the function was found by an alias that has one: it adds to
	// the environment of whatever version is picked.
	AliasEnvironment Environment
}

// Variables is the environment of the version with what the alias adds.
func (f Function) Variables() Environment { return f.Environment.With(f.AliasEnvironment) }

// Pick is the version that a session or call of the given key runs, where the
// function was found by an alias that splits. Equal keys pick equally.
func (f Function) Pick(key string) int {
	if len(f.Weights) == 0 {
		return f.Version
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(key)) // never fails
	percentile := int(h.Sum32() % 100)
	for _, version := range slices.Sorted(maps.Keys(f.Weights)) {
		if percentile -= f.Weights[version]; percentile < 0 {
			return version
		}
	}
	return f.Version
}

// Version is what a list of a function's versions tells of one.
type Version struct {
	Number    int
	Digest    Digest
	UserID    string // who added it
	CreatedAt time.Time
	Current   bool
	Aliases   []string // that stand for it, by name; weights do not count
}

// Alias is a name for a version of a function, or for a weighted few.
type Alias struct {
	Name    string
	Version int
	Weights map[int]int // percentage of sessions or calls that go to other versions
	// Environment adds to that of the version, and comes before it. Nil, where an alias is put:
	// it stays as it is.
	Environment Environment
	UserID      string // who set it last
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

// functionOwner is how Owner begins.
const functionOwner = "function:"

// Owner is whose worker runs the function.
func (f Function) Owner() string { return functionOwner + f.SecretOwner() }

// SecretOwner is whose secrets it finds.
func (f Function) SecretOwner() string { return OwnerOf(f.Name.Namespace, f.UserID) }

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
	Namespace Namespace // the default one too: no query selects several
	Type      FunctionType
	Language  Language
	UserID    string
	Tag       string
	Page      int // from 1
	PerPage   int // 1 to 100
}
