// Package mtls is how parts of one installation meet between machines: by TLS 1.3 in which
// each side shows a certificate of the installation's own authority. What a certificate says
// is a role and nothing else: hosts come and go under addresses that nobody knows before, so
// no name or address is compared.
package mtls

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
)

// Role is what a part may do between machines.
type Role string

// The roles.
const (
	Envoy   Role = "envoy"   // takes its configuration, asks ext_proc, sends requests on
	Host    Role = "host"    // takes code and sessions, runs functions
	Control Role = "control" // asks hosts how they are, and to check code
)

// Roles are all of them.
func Roles() []Role { return []Role{Envoy, Host, Control} }

// URI is how a certificate names the role, as a subject alternative name. It is an id of
// SPIFFE's form, which Envoy, Go and meshes compare without further ado.
func (r Role) URI() string { return "spiffe://envoke/" + string(r) }

// roleOf reads a certificate's role. One that names two is nobody's.
func roleOf(cert *x509.Certificate) (Role, error) {
	if len(cert.URIs) == 1 {
		for _, role := range Roles() {
			if cert.URIs[0].String() == role.URI() {
				return role, nil
			}
		}
	}
	return "", fmt.Errorf("the certificate %q names no role: it needs one URI, such as %s", cert.Subject.CommonName, Host.URI())
}

// PeerRole is the role of whoever is at the other end of a connection that Server or Client
// have taken.
func PeerRole(state *tls.ConnectionState) Role {
	if len(state.PeerCertificates) == 0 {
		return ""
	}
	role, _ := roleOf(state.PeerCertificates[0])
	return role
}

// The protocols that ports speak, as ALPN names them: requests, and gRPC.
const (
	HTTP = "http/1.1"
	GRPC = "h2"
)

// Allowed are the roles that may connect, by protocol. Another protocol is refused.
type Allowed map[string][]Role

// Server is the TLS of a port. The certificate and the authorities are those of the moment.
func (i *Identity) Server(allowed Allowed) *tls.Config {
	var protocols []string
	for _, protocol := range []string{GRPC, HTTP} {
		if len(allowed[protocol]) > 0 {
			protocols = append(protocols, protocol)
		}
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: protocols,
		// VerifyConnection verifies it, by what the files hold by then.
		ClientAuth: tls.RequireAnyClientCert,
		// A ticket would outlive the certificate that it was given for.
		SessionTicketsDisabled: true,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return &i.latest().pair, nil
		},
		VerifyConnection: func(state tls.ConnectionState) error {
			return i.verify(state, x509.ExtKeyUsageClientAuth, allowed[state.NegotiatedProtocol])
		},
	}
}

// Client is the TLS of a connection to a part of the role, which speaks the protocol.
func (i *Identity) Client(peer Role, protocol string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: []string{protocol},
		// VerifyConnection verifies the chain and the role; names say nothing here.
		InsecureSkipVerify: true, //nolint:gosec // see above
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &i.latest().pair, nil
		},
		VerifyConnection: func(state tls.ConnectionState) error {
			return i.verify(state, x509.ExtKeyUsageServerAuth, []Role{peer})
		},
	}
}

// verify tells whether the peer's certificate is of an authority of ours and of one of the
// roles.
func (i *Identity) verify(state tls.ConnectionState, usage x509.ExtKeyUsage, allowed []Role) error {
	if len(state.PeerCertificates) == 0 {
		return errors.New("there is no certificate")
	}
	leaf, between := state.PeerCertificates[0], x509.NewCertPool()
	for _, cert := range state.PeerCertificates[1:] {
		between.AddCert(cert)
	}
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots: i.latest().roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{usage},
	})
	if err != nil {
		return fmt.Errorf("the certificate is not of this installation: %w", err)
	}
	role, err := roleOf(leaf)
	if err != nil {
		return err
	}
	if !slices.Contains(allowed, role) {
		return fmt.Errorf("the role %q is not wanted here", role)
	}
	return nil
}
