package testrig

import (
	"testing"

	"envoke/internal/signer"
)

// Issuer issues JSON Web Tokens in a test.
type Issuer struct{ *signer.Signer }

// NewIssuer makes one with a new key.
func NewIssuer(t testing.TB, url, keyID string) *Issuer {
	t.Helper()
	s, err := signer.New(url, keyID)
	if err != nil {
		t.Fatal(err)
	}
	return &Issuer{s}
}

// KeySet is the JSON Web Key Set of the issuers.
func KeySet(issuers ...*Issuer) string {
	signers := make([]*signer.Signer, len(issuers))
	for n, i := range issuers {
		signers[n] = i.Signer
	}
	return signer.KeySet(signers...)
}

// Token is one that is valid for an hour, with these claims besides or instead.
func (i *Issuer) Token(t testing.TB, claims map[string]any) string {
	t.Helper()
	return token(t)(i.Signer.Token(claims))
}

// TokenWith is Token with another header, which need not be true.
func (i *Issuer) TokenWith(t testing.TB, header, claims map[string]any) string {
	t.Helper()
	return token(t)(i.Signer.TokenWith(header, claims))
}

// Unsigned is a token without its signature.
func Unsigned(t testing.TB, header, claims map[string]any) string {
	t.Helper()
	return token(t)(signer.Unsigned(header, claims))
}

func token(t testing.TB) func(string, error) string {
	return func(token string, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
}
