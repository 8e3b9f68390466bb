package authz

import (
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"net/url"

	"envoke/internal/faas"
)

// maxCertificate bounds a certificate as Envoy sends it, in bytes.
const maxCertificate = 64 << 10

// subjectOf is whom a client's certificate names, which Envoy has verified and sends as PEM,
// escaped as in a URL: its URI, else its DNS name, else the common name of its subject; empty:
// nobody. Where there are several of the kind that counts, it names nobody: one of them might
// be for something else.
func subjectOf(escaped string) string {
	if len(escaped) > maxCertificate {
		return ""
	}
	text, err := url.PathUnescape(escaped)
	if err != nil {
		return ""
	}
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return ""
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return ""
	}
	user := nameOf(certificate)
	if !faas.ValidUser(user) {
		return ""
	}
	return user
}

var commonName = asn1.ObjectIdentifier{2, 5, 4, 3}

func nameOf(c *x509.Certificate) string {
	var names []string
	switch {
	case len(c.URIs) > 0:
		for _, uri := range c.URIs {
			names = append(names, uri.String())
		}
	case len(c.DNSNames) > 0:
		names = c.DNSNames
	default:
		for _, part := range c.Subject.Names {
			if text, ok := part.Value.(string); ok && part.Type.Equal(commonName) {
				names = append(names, text)
			}
		}
	}
	if len(names) != 1 {
		return ""
	}
	return names[0]
}
