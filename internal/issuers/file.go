package issuers

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"envoke/internal/faas"
)

// Issuer is who issues tokens, as the file says it.
type Issuer struct {
	Issuer    string   `json:"issuer"`    // of the claim iss
	Audiences []string `json:"audiences"` // one must be in the claim aud
	JWKSURL   string   `json:"jwks_url"`  // where its key set is, or
	JWKSFile  string   `json:"jwks_file"` // the file of it
	// ClockSkewSeconds is by how much its clock and ours may differ; nil: 60.
	ClockSkewSeconds *int `json:"clock_skew_seconds"`
	// UserClaim and ScopeClaim are claims, or paths of claims with dots between; empty: sub
	// and scope.
	UserClaim  string `json:"user_claim"`
	ScopeClaim string `json:"scope_claim"`
	// Namespace is that of its callers, or NamespaceClaim the claim that says it, or its path;
	// both empty: the default one.
	Namespace      string `json:"namespace"`
	NamespaceClaim string `json:"namespace_claim"`
}

const (
	defaultSkew = 60
	maxSkew     = 3600
	maxIssuers  = 16
	maxFile     = 1 << 20
)

// Read reads a YAML file of issuers. The error names the file and every fault.
func Read(path string) ([]Issuer, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err // which names the file
	}
	var file struct {
		Issuers []Issuer `json:"issuers"`
	}
	if len(raw) > maxFile {
		err = fmt.Errorf("it is larger than %d bytes", maxFile)
	} else if err = yaml.UnmarshalStrict(raw, &file); err == nil {
		err = checkAll(file.Issuers)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return file.Issuers, nil
}

func checkAll(issuers []Issuer) error {
	if len(issuers) == 0 || len(issuers) > maxIssuers {
		return fmt.Errorf("it has %d issuers: it must have 1 to %d, under the key issuers", len(issuers), maxIssuers)
	}
	var faults []error
	seen := map[string]bool{}
	for n := range issuers {
		i := &issuers[n]
		for _, fault := range i.check() {
			faults = append(faults, fmt.Errorf("issuer %d: %s", n+1, fault))
		}
		if seen[i.Issuer] {
			faults = append(faults, fmt.Errorf("issuer %d: %s is there twice", n+1, i.Issuer))
		}
		seen[i.Issuer] = true
		if len(issuers) > 1 && i.UserClaim == "" {
			faults = append(faults, fmt.Errorf("issuer %d: user_claim is missing: of several issuers each must name the claim that is a user's id, such as email, since two users of one sub would be one", n+1))
		}
	}
	return errors.Join(faults...)
}

func (i *Issuer) check() (faults []string) {
	if i.Issuer == "" {
		faults = append(faults, "issuer is missing: it is the claim iss of its tokens")
	}
	if len(i.Audiences) == 0 {
		faults = append(faults, "audiences is missing: without one, tokens for others would be taken")
	}
	for _, audience := range i.Audiences {
		if audience == "" {
			faults = append(faults, "audiences has an empty one")
		}
	}
	if (i.JWKSURL == "") == (i.JWKSFile == "") {
		faults = append(faults, "one of jwks_url and jwks_file must be there")
	}
	if i.JWKSURL != "" {
		if err := checkURL(i.JWKSURL); err != nil {
			faults = append(faults, "jwks_url: "+err.Error())
		}
	}
	if s := i.ClockSkewSeconds; s != nil && (*s < 0 || *s > maxSkew) {
		faults = append(faults, fmt.Sprintf("clock_skew_seconds must be 0 to %d", maxSkew))
	}
	if i.Namespace != "" && i.NamespaceClaim != "" {
		faults = append(faults, "namespace and namespace_claim: one of them is too many")
	}
	if _, err := i.Home(); err != nil {
		faults = append(faults, "namespace: "+err.Error())
	}
	for _, claim := range []string{i.UserClaim, i.ScopeClaim, i.NamespaceClaim} {
		if claim != "" && strings.Contains("."+claim+".", "..") {
			faults = append(faults, fmt.Sprintf("the claim %q has an empty part", claim))
		}
	}
	return faults
}

// checkURL wants keys to come by TLS: who could change them on their way could sign.
func checkURL(raw string) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Host == "":
		return errors.New("it is no URL")
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && isLoopback(u.Hostname()):
		return nil
	}
	return errors.New("it must begin with https://")
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Skew is by how much its clock and ours may differ.
func (i Issuer) Skew() time.Duration {
	if i.ClockSkewSeconds == nil {
		return defaultSkew * time.Second
	}
	return time.Duration(*i.ClockSkewSeconds) * time.Second
}

// User is the path of the claim that is a user's id.
func (i Issuer) User() []string { return pathOf(i.UserClaim, "sub") }

// Scope is the path of the claim that has scopes.
func (i Issuer) Scope() []string { return pathOf(i.ScopeClaim, "scope") }

// Home is the namespace of its callers, where not a claim says it.
func (i Issuer) Home() (faas.Namespace, error) {
	if i.Namespace == "" {
		return "", nil
	}
	return faas.ParseNamespace(i.Namespace)
}

// NamespacePath is the path of the claim that says of which namespace a caller is; nil: none does.
func (i Issuer) NamespacePath() []string {
	if i.NamespaceClaim == "" {
		return nil
	}
	return pathOf(i.NamespaceClaim, "")
}

func pathOf(claim, fallback string) []string {
	if claim == "" {
		claim = fallback
	}
	return strings.Split(claim, ".")
}

const maxKeys = 100

// key is what of a JSON Web Key (RFC 7517, 7518, 8037) counts here.
type key struct {
	Kty string `json:"kty"`
	Use string `json:"use,omitempty"`
	Kid string `json:"kid,omitempty"`
	Alg string `json:"alg,omitempty"`
	Crv string `json:"crv,omitempty"`
	N   string `json:"n,omitempty"`
	E   string `json:"e,omitempty"`
	X   string `json:"x,omitempty"`
	Y   string `json:"y,omitempty"`
}

// parseKeys reads a JSON Web Key Set and keeps the keys that Envoy can check a signature by:
// with another one it would refuse all. A symmetric key would let everybody sign who can
// read it. A set without any is one: the issuer has withdrawn what it had.
func parseKeys(raw []byte) ([]key, error) {
	var set struct {
		Keys *[]json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(raw, &set); err != nil || set.Keys == nil {
		return nil, fmt.Errorf("it is no JSON Web Key Set: %w", cmp.Or(err, errors.New("it has no member keys")))
	}
	var kept []key
	for _, one := range *set.Keys {
		var k key
		if json.Unmarshal(one, &k) == nil && k.checks() {
			kept = append(kept, k)
		}
	}
	if len(kept) > maxKeys {
		return nil, fmt.Errorf("it has %d keys: it may have %d", len(kept), maxKeys)
	}
	return kept, nil
}

// coordinates are how long those of the curves are, in bytes.
var coordinates = map[string]int{"P-256": 32, "P-384": 48, "P-521": 66}

// checks tells whether it is a public key for signatures, of a kind that Envoy knows.
func (k key) checks() bool {
	if k.Use != "" && k.Use != "sig" {
		return false
	}
	switch k.Kty {
	case "RSA":
		n := length(k.N)
		return n >= 256 && n <= 2048 && length(k.E) >= 1 && length(k.E) <= 8 && (k.Alg == "" || strings.HasPrefix(k.Alg, "RS") || strings.HasPrefix(k.Alg, "PS"))
	case "EC":
		size := coordinates[k.Crv]
		return size > 0 && length(k.X) == size && length(k.Y) == size && (k.Alg == "" || strings.HasPrefix(k.Alg, "ES"))
	case "OKP":
		return k.Crv == "Ed25519" && length(k.X) == 32 && (k.Alg == "" || k.Alg == "EdDSA")
	}
	return false
}

// length is that of bytes in base64url, or -1.
func length(text string) int {
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return -1
	}
	return len(raw)
}

// document is the keys as a set. One that has none gets a key that nobody can sign with:
// Envoy takes no empty set.
func document(keys []key) string {
	if len(keys) == 0 {
		keys = []key{nobodys}
	}
	raw, _ := json.Marshal(map[string]any{"keys": keys}) // texts only
	return string(raw)
}

// nobodys is a public key of which nobody has the private one.
var nobodys = func() key {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic("issuers: " + err.Error()) // the system has no random numbers
	}
	point, err := private.PublicKey.Bytes() // 4, x, y
	if err != nil {
		panic("issuers: " + err.Error())
	}
	encode := base64.RawURLEncoding.EncodeToString
	return key{Kty: "EC", Crv: "P-256", Kid: "nobody's", X: encode(point[1:33]), Y: encode(point[33:])}
}()
