// Package signer signs JSON Web Tokens, for tests and the benchmark: it plays an issuer.
package signer

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"time"
)

// Signer issues tokens, signed by a key of its own.
type Signer struct {
	URL   string // the claim iss
	KeyID string
	key   *rsa.PrivateKey
}

// New makes one with a new key.
func New(url, keyID string) (*Signer, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, fmt.Errorf("make a signer's key: %w", err)
	}
	return &Signer{URL: url, KeyID: keyID, key: key}, nil
}

// Key is the public key as a JSON Web Key.
func (s *Signer) Key() map[string]any {
	return map[string]any{
		"kty": "RSA", "kid": s.KeyID, "alg": "RS256", "use": "sig",
		"n": encode(s.PublicBytes()), "e": encode(big.NewInt(int64(s.key.E)).Bytes()),
	}
}

// PublicBytes is the public key's own bytes, which a confused verifier may take for a secret.
func (s *Signer) PublicBytes() []byte { return s.key.N.Bytes() }

// KeySet is the JSON Web Key Set of the signers.
func KeySet(signers ...*Signer) string {
	keys := []map[string]any{}
	for _, s := range signers {
		keys = append(keys, s.Key())
	}
	raw, _ := json.Marshal(map[string]any{"keys": keys}) // texts only
	return string(raw)
}

// Token is one that is valid for an hour, with these claims besides or instead.
func (s *Signer) Token(claims map[string]any) (string, error) {
	return s.TokenWith(map[string]any{"alg": "RS256", "kid": s.KeyID, "typ": "JWT"}, claims)
}

// TokenWith is Token with another header, which need not be true.
func (s *Signer) TokenWith(header, claims map[string]any) (string, error) {
	all := map[string]any{"iss": s.URL, "exp": time.Now().Add(time.Hour).Unix()}
	maps.Copy(all, claims)
	signed, err := Unsigned(header, all)
	if err != nil {
		return "", err
	}
	digest := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(rand.Reader, s.key, crypto.SHA256, digest[:])
	if err != nil {
		return "", fmt.Errorf("sign a token: %w", err)
	}
	return signed + "." + encode(signature), nil
}

// Unsigned is a token without its signature.
func Unsigned(header, claims map[string]any) (string, error) {
	var parts [2]string
	for n, part := range []map[string]any{header, claims} {
		raw, err := json.Marshal(part)
		if err != nil {
			return "", fmt.Errorf("make a token: %w", err)
		}
		parts[n] = encode(raw)
	}
	return parts[0] + "." + parts[1], nil
}

func encode(raw []byte) string { return base64.RawURLEncoding.EncodeToString(raw) }
