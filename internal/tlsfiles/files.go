// Package tlsfiles reads the files of a server's certificate as operators and their tools
// leave them, tells what is wrong with them, and follows their renewals.
package tlsfiles

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

const (
	// maxFile bounds each of the files, in bytes: bundles of all public authorities have a
	// quarter of it.
	maxFile = 1 << 20
	// leastRSA is what Envoy takes, in bits.
	leastRSA = 2048

	certificateBlock = "CERTIFICATE"
)

// Files are where they are, in PEM. The errors of this package name them by their settings.
type Files struct {
	Cert, Key string // the chain, of which the first is the server's own, and its key
	ClientCA  string // whose certificates clients may show; empty: nobody's
}

// Content is what the files held, without what Envoy has no use for.
type Content struct {
	Chain    string // only certificates: a file that has the key too does not give it away
	Key      PrivateKey
	ClientCA string
	Leaf     *x509.Certificate
}

// Ends is when the server's certificate ends.
func (c *Content) Ends() time.Time { return c.Leaf.NotAfter }

// Check names all that is wrong with the files, for those that are there at a start.
func (f Files) Check(now time.Time) []error {
	_, faults := f.Read(now)
	return faults
}

// Read reads the files. It names every fault at once; without any, there is the content.
func (f Files) Read(now time.Time) (*Content, []error) {
	raw, faults := f.raw()
	if faults != nil {
		return nil, faults
	}
	return f.parse(raw, now)
}

// raw is what the files hold: chain, key and client CA.
func (f Files) raw() (all [3][]byte, faults []error) {
	for n, file := range f.named() {
		if file.path == "" {
			continue
		}
		var err error
		if all[n], err = readFile(file.path); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", file.setting, err))
		}
	}
	return all, faults
}

func (f Files) named() [3]struct{ setting, path string } {
	return [3]struct{ setting, path string }{
		{"TLS_CERT_FILE", f.Cert}, {"TLS_KEY_FILE", f.Key}, {"TLS_CLIENT_CA_FILE", f.ClientCA},
	}
}

func (f Files) parse(raw [3][]byte, now time.Time) (*Content, []error) {
	var faults []error
	fault := func(setting string, err error) {
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", setting, err))
		}
	}
	c := &Content{}
	chain, err := certificates(f.Cert, raw[0])
	fault("TLS_CERT_FILE", err)
	if err == nil {
		c.Leaf, c.Chain = chain[0], encode(chain)
		fault("TLS_CERT_FILE", checkLeaf(f.Cert, c.Leaf, now))
	}
	c.Key, err = privateKey(f.Key, raw[1])
	fault("TLS_KEY_FILE", err)
	if c.Chain != "" && c.Key != "" {
		fault("TLS_CERT_FILE and TLS_KEY_FILE", f.checkPair(c))
	}
	if f.ClientCA != "" {
		authorities, err := certificates(f.ClientCA, raw[2])
		if err == nil {
			err = checkAuthorities(f.ClientCA, authorities)
		}
		fault("TLS_CLIENT_CA_FILE", err)
		c.ClientCA = encode(authorities)
	}
	if faults != nil {
		return nil, faults
	}
	return c, nil
}

// certificates are those of a file, in its order.
func certificates(path string, raw []byte) (all []*x509.Certificate, err error) {
	for n := 1; ; n++ {
		var block *pem.Block
		if block, raw = pem.Decode(raw); block == nil {
			break
		}
		if block.Type != certificateBlock {
			continue // such as the key, in files that have both
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: its block %d is no certificate: %w", path, n, err)
		}
		all = append(all, cert)
	}
	if all == nil {
		return nil, fmt.Errorf("%s has no certificate in PEM (-----BEGIN CERTIFICATE-----)", path)
	}
	return all, nil
}

// encode leaves out what a file has around its certificates.
func encode(chain []*x509.Certificate) string {
	var out bytes.Buffer
	for _, cert := range chain {
		_ = pem.Encode(&out, &pem.Block{Type: certificateBlock, Bytes: cert.Raw}) // to memory
	}
	return out.String()
}

// checkLeaf refuses what clients or Envoy would.
func checkLeaf(path string, leaf *x509.Certificate, now time.Time) error {
	day := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }
	switch {
	case now.After(leaf.NotAfter):
		return fmt.Errorf("%s ended at %s: every client would refuse it. Renew it", path, day(leaf.NotAfter))
	case now.Before(leaf.NotBefore):
		return fmt.Errorf("%s begins at %s only: look at this machine's clock, or wait", path, day(leaf.NotBefore))
	}
	switch key := leaf.PublicKey.(type) {
	case *rsa.PublicKey:
		if key.N.BitLen() < leastRSA {
			return fmt.Errorf("%s has an RSA key of %d bits: Envoy takes %d or more", path, key.N.BitLen(), leastRSA)
		}
	case *ecdsa.PublicKey:
		if key.Curve == elliptic.P224() {
			return fmt.Errorf("%s has a key on the curve P-224: Envoy takes P-256, P-384 and P-521", path)
		}
	default:
		return fmt.Errorf("%s has a key of the kind %s: Envoy takes RSA and ECDSA", path, leaf.PublicKeyAlgorithm)
	}
	return nil
}

// privateKey is the one key of a file.
func privateKey(path string, raw []byte) (PrivateKey, error) {
	for {
		var block *pem.Block
		if block, raw = pem.Decode(raw); block == nil {
			return "", fmt.Errorf("%s has no private key in PEM (-----BEGIN PRIVATE KEY-----)", path)
		}
		switch {
		case block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "":
			return "", fmt.Errorf("%s is encrypted, and nobody here knows its password: store it without (openssl pkey -in %s -out <file>), readable for this user only", path, path)
		case strings.HasSuffix(block.Type, "PRIVATE KEY"):
			return PrivateKey(pem.EncodeToMemory(block)), nil
		}
	}
}

// checkPair tells whether the key is that of the certificate. Errors of the standard library
// quote nothing of either.
func (f Files) checkPair(c *Content) error {
	if _, err := tls.X509KeyPair([]byte(c.Chain), []byte(c.Key)); err != nil {
		return fmt.Errorf("%s is not the key of the first certificate in %s: %w", f.Key, f.Cert, err)
	}
	return nil
}

// checkAuthorities refuses certificates that sign nothing: clients that show them would be
// refused all the same.
func checkAuthorities(path string, all []*x509.Certificate) error {
	for _, cert := range all {
		if !cert.IsCA {
			return fmt.Errorf("%s: %q is no authority: its certificate may sign no others", path, cert.Subject)
		}
	}
	return nil
}

func readFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	raw, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err == nil && len(raw) > maxFile {
		err = errors.New(path + " is larger than any certificate")
	}
	return raw, err
}
