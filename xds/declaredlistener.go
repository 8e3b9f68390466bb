package xds

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"envoke/internal/routing"
)

// DeclaredListener is the name of a declared listener, and of its certificate's secret.
func DeclaredListener(name string) string { return "listener/" + name }

// declaredListeners are those beside the first one. Each serves all that it does.
func declaredListeners(s State) (all []*listenerv3.Listener) {
	for _, l := range s.Routing.Listeners {
		name := DeclaredListener(l.Name)
		own := s
		own.Listener.Host = cmp.Or(l.Host, s.Listener.Host)
		if l.RedirectTo != 0 {
			all = append(all, listener(name, own, l.Port, redirecting(own, l.RedirectTo)))
			continue
		}
		made := listener(name, own, l.Port, connectionManager(own))
		if l.Protocol == routing.HTTPS {
			chain := made.GetFilterChains()[0]
			chain.TransportSocket = serverSocket(name, "")
			chain.TransportSocketConnectTimeout = duration(s.Listener.HeadersTimeout)
		}
		all = append(all, made)
	}
	return all
}

// declaredSecrets are files where Envoy runs, which reads them again when they change.
func declaredSecrets(s State) (all []*tlsv3.Secret) {
	for _, l := range s.Routing.Listeners {
		if l.Protocol != routing.HTTPS {
			continue
		}
		all = append(all, &tlsv3.Secret{Name: DeclaredListener(l.Name), Type: &tlsv3.Secret_TlsCertificate{
			TlsCertificate: &tlsv3.TlsCertificate{
				CertificateChain: file(l.TLS.CertificateFile), PrivateKey: file(l.TLS.KeyFile), WatchedDirectory: folder(l.TLS.CertificateFile),
			},
		}})
	}
	return all
}

// checkListeners refuses ports that are taken, and those that others could reach where nobody
// checks who calls, unless the first listener is such a one: somebody has said so then.
func (s State) checkListeners() error {
	var faults []error
	taken := map[int]string{s.Listener.Port: "the first listener", s.Listener.Redirect.Port: "the redirect"}
	delete(taken, 0)
	for _, l := range s.Routing.Listeners {
		host := cmp.Or(l.Host, s.Listener.Host)
		faults = append(faults, checkAddress(fmt.Sprintf("listener %q", l.Name), host, l.Port, 1))
		if other := taken[l.Port]; other != "" {
			faults = append(faults, fmt.Errorf("listener %q: port %d is that of %s", l.Name, l.Port, other))
		}
		taken[l.Port] = fmt.Sprintf("listener %q", l.Name)
		if s.Auth == nil && isLoopback(s.Listener.Host) && !isLoopback(host) {
			faults = append(faults, fmt.Errorf("listener %q: others could reach %s, and nobody checks who calls: set AUTH, or have HOST be such an address with --insecure-public", l.Name, host))
		}
		if l.HTTP3 {
			faults = append(faults, fmt.Errorf("listener %q: http3 is not served in this version", l.Name))
		}
	}
	return errors.Join(faults...)
}

func isLoopback(host string) bool {
	at, err := netip.ParseAddr(host)
	return err == nil && at.Unmap().IsLoopback()
}

// serverSocket is TLS with clients, by the certificate of that secret; clients may show those
// of the other secret's authorities, if one is named.
func serverSocket(certificate, clients string) *corev3.TransportSocket {
	context := &tlsv3.CommonTlsContext{
		TlsParams: &tlsv3.TlsParameters{
			TlsMinimumProtocolVersion: tlsv3.TlsParameters_TLSv1_2,
			TlsMaximumProtocolVersion: tlsv3.TlsParameters_TLSv1_3,
			CipherSuites:              cipherSuites,
		},
		AlpnProtocols:                  []string{"h2", "http/1.1"},
		TlsCertificateSdsSecretConfigs: []*tlsv3.SdsSecretConfig{secretByADS(certificate)},
	}
	if clients != "" {
		context.ValidationContextType = &tlsv3.CommonTlsContext_ValidationContextSdsSecretConfig{
			ValidationContextSdsSecretConfig: secretByADS(clients),
		}
	}
	return &corev3.TransportSocket{Name: tlsSocket, ConfigType: &corev3.TransportSocket_TypedConfig{
		// Clients without a certificate are taken too; one that is shown must be believed.
		TypedConfig: pack(&tlsv3.DownstreamTlsContext{CommonTlsContext: context}),
	}}
}
