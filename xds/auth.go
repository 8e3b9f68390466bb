package xds

import (
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"envoke/internal/faas"
)

// Auth is who may call. Each caller has at most one verified identity: the user in
// faas.UserHeader, with the scopes in faas.ScopesHeader.
type Auth struct {
	// Issuers are those whose JWTs are taken, which Envoy checks by itself.
	Issuers []Issuer `json:"issuers"`
	// Anonymous are the scopes of who shows nothing.
	Anonymous faas.Scopes `json:"anonymous"`
}

// Issuer is who issues JWTs.
type Issuer struct {
	Issuer    string   `json:"issuer"`    // of the claim iss
	Audiences []string `json:"audiences"` // one must be in the claim aud; none: any will do
	Keys      string   `json:"keys"`      // its JSON Web Key Set (RFC 7517)
	// UserClaim and ScopeClaim are the names of claims, by their path in the token.
	UserClaim  []string      `json:"user_claim"`
	ScopeClaim []string      `json:"scope_claim"` // a string with spaces (RFC 8693, 4.2)
	ClockSkew  time.Duration `json:"clock_skew"`
	// Namespace is that of its callers, or NamespaceClaim the path of the claim that says it;
	// without both it is the default one.
	Namespace      faas.Namespace `json:"namespace"`
	NamespaceClaim []string       `json:"namespace_claim"`
}

func (a *Auth) check() error {
	if a == nil {
		return nil
	}
	var faults []error
	seen := map[string]bool{}
	for _, issuer := range a.Issuers {
		if seen[issuer.Issuer] {
			faults = append(faults, fmt.Errorf("issuer %q is there twice", issuer.Issuer))
		}
		seen[issuer.Issuer] = true
		faults = append(faults, issuer.check())
	}
	for _, scope := range a.Anonymous {
		if !scope.Known() || scope == faas.Admin {
			faults = append(faults, fmt.Errorf("anonymous scope %q: it is none that everybody may have", scope))
		}
	}
	return errors.Join(faults...)
}

func (i Issuer) check() error {
	texts := append([]string{i.Issuer, i.Keys}, slices.Concat(i.Audiences, i.UserClaim, i.ScopeClaim, i.NamespaceClaim)...)
	switch {
	case slices.Contains(texts, "") || len(i.UserClaim) == 0 || len(i.ScopeClaim) == 0:
		return fmt.Errorf("issuer %q: something is empty", i.Issuer)
	case slices.ContainsFunc(texts, func(s string) bool { return !utf8.ValidString(s) }):
		return fmt.Errorf("issuer %q: something is not UTF-8", i.Issuer)
	case !i.Namespace.Valid() || i.Namespace != "" && len(i.NamespaceClaim) > 0:
		return fmt.Errorf("issuer %q: it has no one namespace", i.Issuer)
	case i.ClockSkew < 0:
		return fmt.Errorf("issuer %q: clock_skew %v is negative", i.Issuer, i.ClockSkew)
	}
	return nil
}
