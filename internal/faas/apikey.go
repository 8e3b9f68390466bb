package faas

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"
)

// APIKey is by what a program or a person calls. Its secret, a text of the form
//
//	ek_<id, 12 characters>_<43 characters>
//
// of letters and digits, is shown to who creates it, once, and kept nowhere: the store
// has its hash. Scanners find a secret that leaked by
// \bek_[0-9A-Za-z]{12}_[0-9A-Za-z]{43}\b.
type APIKey struct {
	ID        string // public
	Name      string // for people
	Namespace Namespace
	UserID    string
	Scopes    Scopes
	Languages []Language // of which it may run code; empty: of all
	CreatedAt time.Time
	CreatedBy string    // empty: nobody in particular
	ExpiresAt time.Time // zero: never
	// LastUsedAt lags by some seconds; zero: it was never used.
	LastUsedAt time.Time
	RevokedAt  time.Time // zero: it was not
	Hash       KeyHash
}

// KeyHash is the SHA-256 of a secret. That has 256 random bits, so nobody finds it by its
// hash, and a slow hash would only slow its look-up.
type KeyHash [sha256.Size]byte

// String is the hash in hex, as stores have it.
func (h KeyHash) String() string { return hex.EncodeToString(h[:]) }

// ParseKeyHash reads what String wrote.
func ParseKeyHash(text string) (h KeyHash, err error) {
	if len(text) != hex.EncodedLen(len(h)) {
		return h, hex.ErrLength
	}
	_, err = hex.Decode(h[:], []byte(text))
	return h, err
}

// KeyQuery selects API keys.
type KeyQuery struct {
	Namespace Namespace // the default one too: no query selects several
	UserID    string    // empty: of everybody
	Page      int       // from 1
	PerPage   int
}

// The lengths of the parts of a secret, in bytes. A character of 62 has 5.95 bits: 43
// have 256.
const (
	KeyIDLen     = 12
	keyRandomLen = 43
	KeySecretLen = len(keyPrefix) + KeyIDLen + 1 + keyRandomLen

	keyPrefix = "ek_"
)

// The errors of a key that is not accepted. Who does not have the whole secret is not told
// whether there is a key of its id.
var (
	ErrNoKey      = &Error{Code: Unauthorized, Message: "there is no such API key"}
	ErrKeyExpired = &Error{Code: Unauthorized, Message: "the API key has expired: ask an administrator for a new one"}
	ErrKeyRevoked = &Error{Code: Unauthorized, Message: "the API key was revoked: ask an administrator for a new one"}
	ErrKeyForm    = &Error{Code: Unauthorized, Message: "this is no API key: one is ek_, 12 letters or digits, _ and 43 more; was it copied whole?"}
)

// NewKeySecret makes the id and the secret of a new key.
func NewKeySecret() (id, secret string) {
	id = randomText(KeyIDLen)
	return id, keyPrefix + id + "_" + randomText(keyRandomLen)
}

const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// randomText is of so many characters of the alphabet, each as likely as the others.
func randomText(length int) string {
	text := make([]byte, 0, length)
	var random [64]byte
	for {
		_, _ = rand.Read(random[:]) // never fails (crypto/rand)
		for _, b := range random {
			if len(text) == length {
				return string(text)
			}
			if int(b) < 256/len(alphabet)*len(alphabet) { // the rest would favour the first
				text = append(text, alphabet[int(b)%len(alphabet)])
			}
		}
	}
}

// ParseKeySecret is the id that a secret names, a part of it, which may not exist. It takes
// the one spelling that a key has; ok is false for any other text.
func ParseKeySecret(secret string) (id string, ok bool) {
	const random = len(keyPrefix) + KeyIDLen + 1
	if len(secret) != KeySecretLen || !strings.HasPrefix(secret, keyPrefix) || secret[random-1] != '_' {
		return "", false
	}
	id = secret[len(keyPrefix) : random-1]
	if !IsKeyID(id) || countAlphanumeric(secret[random:]) != keyRandomLen {
		return "", false
	}
	return id, true
}

// HashKeySecret is the hash of any text that is a secret.
func HashKeySecret(secret string) KeyHash { return sha256.Sum256([]byte(secret)) }

// IsKeyID tells whether a text is formed as the ids of keys are.
func IsKeyID(id string) bool { return len(id) == KeyIDLen && countAlphanumeric(id) == KeyIDLen }

// countAlphanumeric is how many letters and digits of ASCII a text begins with.
func countAlphanumeric(text string) int {
	for i := range len(text) {
		c := text[i]
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return i
		}
	}
	return len(text)
}

// MaskKeySecrets puts *** in place of what is secret of each key in a text, of one that is
// cut off too.
func MaskKeySecrets(text string) string {
	if !strings.Contains(text, keyPrefix) {
		return text
	}
	var out strings.Builder
	for {
		before, after, found := strings.Cut(text, keyPrefix)
		out.WriteString(before)
		if !found {
			return out.String()
		}
		out.WriteString(keyPrefix)
		text = after
		if len(after) > KeyIDLen && after[KeyIDLen] == '_' && IsKeyID(after[:KeyIDLen]) {
			out.WriteString(after[:KeyIDLen+1])
			text = after[KeyIDLen+1:]
			if secret := countAlphanumeric(text); secret > 0 {
				out.WriteString("***")
				text = text[secret:]
			}
		}
	}
}

// Caller is who calls by the key. Of languages that the key may not run it has no scope.
func (k *APIKey) Caller() Caller {
	if len(k.Languages) == 0 {
		return Caller{Namespace: k.Namespace, UserID: k.UserID, Scopes: k.Scopes, Proof: "key " + k.ID}
	}
	var scopes Scopes
	for _, scope := range k.Scopes {
		switch language, runs := strings.CutPrefix(string(scope), "execute:"); {
		case scope == ExecuteAll:
			for _, language := range k.Languages {
				scopes = append(scopes, ExecuteScope(language))
			}
		case !runs || slices.Contains(k.Languages, Language(language)):
			scopes = append(scopes, scope)
		}
	}
	return Caller{Namespace: k.Namespace, UserID: k.UserID, Scopes: scopes, Proof: "key " + k.ID}
}

// Check tells whether the key is accepted at a time; the error says why it is not.
func (k *APIKey) Check(now time.Time) error {
	switch {
	case !k.RevokedAt.IsZero():
		return ErrKeyRevoked
	case !k.ExpiresAt.IsZero() && !now.Before(k.ExpiresAt):
		return ErrKeyExpired
	}
	return nil
}
