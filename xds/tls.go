package xds

import (
	"errors"
	"unicode/utf8"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"envoke/internal/tlsfiles"
)

const tlsSocket = "envoy.transport_sockets.tls"

// Names of the public listener's secrets. The listener only names them, so that another
// certificate leaves the listener, and with it all connections, as they are.
const (
	CertificateSecret = "public"  // the certificate and its key
	ClientCASecret    = "clients" // whose certificates clients may show
)

// TLS is what the public listener shows and believes, in PEM. The zero TLS is plain HTTP.
type TLS struct {
	Chain    string              `json:"chain"` // the certificate, and those in between
	Key      tlsfiles.PrivateKey `json:"key"`
	ClientCA string              `json:"client_ca"` // empty: clients are not asked for certificates
}

// On tells whether the listener speaks TLS.
func (t TLS) On() bool { return t.Chain != "" }

func (t TLS) check() error {
	if t.On() == (t.Key == "") {
		return errors.New("tls has one of chain and key: it needs both")
	}
	if t.ClientCA != "" && !t.On() {
		return errors.New("tls has a client_ca without a chain")
	}
	if !utf8.ValidString(t.Chain) || !utf8.ValidString(string(t.Key)) || !utf8.ValidString(t.ClientCA) {
		return errors.New("tls is not UTF-8")
	}
	return nil
}

// cipherSuites are those of TLS 1.2: with forward secrecy and authenticated encryption.
// Those of 1.3 cannot be chosen, and need not be. Named so that another Envoy with other
// defaults changes nothing here.
var cipherSuites = []string{
	"[ECDHE-ECDSA-AES128-GCM-SHA256|ECDHE-ECDSA-CHACHA20-POLY1305]",
	"[ECDHE-RSA-AES128-GCM-SHA256|ECDHE-RSA-CHACHA20-POLY1305]",
	"ECDHE-ECDSA-AES256-GCM-SHA384",
	"ECDHE-RSA-AES256-GCM-SHA384",
}

// publicSocket is TLS with clients; nil: they speak plain HTTP.
func publicSocket(l Listener) *corev3.TransportSocket {
	if !l.TLS.On() {
		return nil
	}
	if l.TLS.ClientCA == "" {
		return serverSocket(CertificateSecret, "")
	}
	return serverSocket(CertificateSecret, ClientCASecret)
}

func secretByADS(name string) *tlsv3.SdsSecretConfig {
	return &tlsv3.SdsSecretConfig{Name: name, SdsConfig: fromADS()}
}

// secrets are what the listener names.
func secrets(t TLS) []*tlsv3.Secret {
	if !t.On() {
		return nil
	}
	all := []*tlsv3.Secret{{Name: CertificateSecret, Type: &tlsv3.Secret_TlsCertificate{
		TlsCertificate: &tlsv3.TlsCertificate{CertificateChain: inline(t.Chain), PrivateKey: inline(string(t.Key))},
	}}}
	if t.ClientCA != "" {
		all = append(all, &tlsv3.Secret{Name: ClientCASecret, Type: &tlsv3.Secret_ValidationContext{
			ValidationContext: &tlsv3.CertificateValidationContext{TrustedCa: inline(t.ClientCA)},
		}})
	}
	return all
}

// inline is bytes: Envoy's admin interface shows certificates, and of a key that it is there.
func inline(text string) *corev3.DataSource {
	return &corev3.DataSource{Specifier: &corev3.DataSource_InlineBytes{InlineBytes: []byte(text)}}
}
