package faas

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
)

// SessionID is a UUIDv8 (RFC 9562) that routes itself:
//
//	rrrrrrrr-rrrr-8LFr-yrrr-mmmmmmmmmmmm     (one character is four bits)
//
// L is the language's digit (Language.Digit), F holds flags (bit 0:
// plain), y the RFC's variant and two random bits, m 48 bits of an HMAC-SHA-256
// over all the rest; with y's, 66 bits are random. Envoy's routes read L and F; ext_proc and the hosts check
// the HMAC before any look-up, so that a forged id costs nothing.
type SessionID string

// SessionIDLen is the length of a session id in bytes.
const SessionIDLen = 36

const (
	macOffset   = 10 // of 16 bytes
	flagPlain   = 1
	versionByte = 6
	variantByte = 8
)

// SessionKey authenticates session ids. All hosts and control replicas of one
// installation share it; it never leaves them.
type SessionKey []byte

// NewSessionKey makes a random key of 32 bytes.
func NewSessionKey() SessionKey {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails (crypto/rand)
	return key
}

// NewID makes the id of a session in the given language. A plain session's
// executes skip ext_proc. An unknown language is a programming error and panics.
func (k SessionKey) NewID(language Language, plain bool) SessionID {
	var raw [16]byte
	_, _ = rand.Read(raw[:macOffset])
	raw[versionByte] = 0x80 | languageDigit(language)
	raw[versionByte+1] &= 0x0f
	if plain {
		raw[versionByte+1] |= flagPlain << 4
	}
	raw[variantByte] = raw[variantByte]&0x3f | 0x80
	k.mac(&raw)
	return SessionID(format(&raw))
}

// Check tells whether the id is well formed and was made with this key. Without a
// key, as in a host that control has not answered yet, no id checks.
func (k SessionKey) Check(id SessionID) bool {
	var raw, want [16]byte
	if len(k) == 0 || !id.parse(&raw) {
		return false
	}
	copy(want[:], raw[:macOffset])
	k.mac(&want)
	return subtle.ConstantTimeCompare(raw[macOffset:], want[macOffset:]) == 1
}

func (k SessionKey) mac(raw *[16]byte) {
	h := hmac.New(sha256.New, k)
	h.Write(raw[:macOffset])
	var sum [sha256.Size]byte
	copy(raw[macOffset:], h.Sum(sum[:0]))
}

// Language reads the language's digit; ok is false for a malformed id. It does
// not check the HMAC.
func (id SessionID) Language() (language Language, ok bool) {
	var raw [16]byte
	if !id.parse(&raw) {
		return "", false
	}
	return languages[raw[versionByte]&0x0f-1], true
}

// Plain tells whether executes of this session skip ext_proc.
func (id SessionID) Plain() bool {
	var raw [16]byte
	return id.parse(&raw) && raw[versionByte+1]>>4&flagPlain != 0
}

// parse accepts the canonical spelling only, lower-case and with a dash at each
// of the four places and nowhere else: one session has one spelling.
func (id SessionID) parse(raw *[16]byte) bool {
	if len(id) != SessionIDLen {
		return false
	}
	at := 0
	for i := range raw {
		if at == 8 || at == 13 || at == 18 || at == 23 {
			if id[at] != '-' {
				return false
			}
			at++
		}
		high, low := nibble(id[at]), nibble(id[at+1])
		if high > 15 || low > 15 {
			return false
		}
		raw[i] = high<<4 | low
		at += 2
	}
	digit := raw[versionByte] & 0x0f
	return raw[versionByte]>>4 == 8 && digit >= 1 && int(digit) <= len(languages) && raw[variantByte]>>6 == 2
}

func nibble(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	}
	return 0xff
}

func languageDigit(language Language) byte {
	if digit := language.Digit(); digit > 0 {
		return byte(digit)
	}
	panic("faas: no digit for language " + string(language))
}

func format(raw *[16]byte) string {
	var out [SessionIDLen]byte
	hex.Encode(out[0:8], raw[0:4])
	out[8] = '-'
	hex.Encode(out[9:13], raw[4:6])
	out[13] = '-'
	hex.Encode(out[14:18], raw[6:8])
	out[18] = '-'
	hex.Encode(out[19:23], raw[8:10])
	out[23] = '-'
	hex.Encode(out[24:], raw[10:])
	return string(out[:])
}
