package testrig

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"math/big"
	"testing"
	"time"
)

// Issuer issues JSON Web Tokens, signed by a key of its own.
type Issuer struct {
	URL   string // the claim iss
	KeyID string
	key   *rsa.PrivateKey
}

// NewIssuer makes one with a new key.
func NewIssuer(t testing.TB, url, keyID string) *Issuer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return &Issuer{URL: url, KeyID: keyID, key: key}
}

// Key is the public key as a JSON Web Key.
func (i *Issuer) Key() map[string]any {
	return map[string]any{
		"kty": "RSA", "kid": i.KeyID, "alg": "RS256", "use": "sig",
		"n": encode(i.key.N.Bytes()), "e": encode(big.NewInt(int64(i.key.E)).Bytes()),
	}
}

// KeySet is the JSON Web Key Set of the issuers.
func KeySet(issuers ...*Issuer) string {
	keys := []map[string]any{}
	for _, i := range issuers {
		keys = append(keys, i.Key())
	}
	raw, _ := json.Marshal(map[string]any{"keys": keys}) // texts only
	return string(raw)
}

// Token is one that is valid for an hour, with these claims besides or instead.
func (i *Issuer) Token(t testing.TB, claims map[string]any) string {
	t.Helper()
	return i.TokenWith(t, map[string]any{"alg": "RS256", "kid": i.KeyID, "typ": "JWT"}, claims)
}

// TokenWith is Token with another header, which need not be true.
func (i *Issuer) TokenWith(t testing.TB, header, claims map[string]any) string {
	t.Helper()
	all := map[string]any{"iss": i.URL, "exp": time.Now().Add(time.Hour).Unix()}
	maps.Copy(all, claims)
	signed := Unsigned(t, header, all)
	digest := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(rand.Reader, i.key, crypto.SHA256, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + encode(signature)
}

// Unsigned is a token without its signature.
func Unsigned(t testing.TB, header, claims map[string]any) string {
	t.Helper()
	parts := [2]string{}
	for n, part := range []map[string]any{header, claims} {
		raw, err := json.Marshal(part)
		if err != nil {
			t.Fatal(err)
		}
		parts[n] = encode(raw)
	}
	return parts[0] + "." + parts[1]
}

// PublicBytes is the public key's own bytes, which a confused verifier may take for a secret.
func (i *Issuer) PublicBytes() []byte { return i.key.N.Bytes() }

func encode(raw []byte) string { return base64.RawURLEncoding.EncodeToString(raw) }
