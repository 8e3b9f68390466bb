package xds

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"envoke/internal/faas"
	"envoke/internal/mtls"
	"envoke/internal/testrig"
	"envoke/internal/tlsfiles"
)

// authority makes certificates of the test's own.
type authority struct {
	*mtls.Authority
	t *testing.T
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	a, err := mtls.NewAuthority(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return authority{a, t}
}

func (a authority) pem() string {
	a.t.Helper()
	cert, _, err := a.PEM()
	if err != nil {
		a.t.Fatal(err)
	}
	return string(cert)
}

func (a authority) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(a.pem()))
	return pool
}

// issue makes a certificate for 127.0.0.1.
func (a authority) issue() (cert, key string) {
	a.t.Helper()
	c, k, err := a.Issue(mtls.Control, []string{"127.0.0.1", "client.example"}, time.Now(), time.Hour)
	if err != nil {
		a.t.Fatal(err)
	}
	return string(c), string(k)
}

func (a authority) pair() []tls.Certificate {
	a.t.Helper()
	cert, key := a.issue()
	pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
	if err != nil {
		a.t.Fatal(err)
	}
	return []tls.Certificate{pair}
}

// server is the TLS of a listener.
func (a authority) server() TLS {
	cert, key := a.issue()
	return TLS{Chain: cert, Key: tlsfiles.PrivateKey(key)}
}

// newTLSStack has a public listener with a certificate of the authority.
func newTLSStack(t *testing.T, a authority, change func(*State)) *stack {
	t.Helper()
	s := newStack(t, func(state *State) {
		state.Listener.TLS = a.server()
		if change != nil {
			change(state)
		}
	})
	s.scheme = "https"
	s.speak(&tls.Config{RootCAs: a.roots()})
	return s
}

// speak has the stack's client use the TLS from now on.
func (s *stack) speak(config *tls.Config) {
	s.client.CloseIdleConnections()
	s.client.Transport = &http.Transport{DisableCompression: true, TLSClientConfig: config, ForceAttemptHTTP2: true}
	s.t.Cleanup(s.client.CloseIdleConnections)
}

// handshake tells what came of one. With TLS 1.3 a server refuses after its own part of it,
// so something is asked too.
func (s *stack) handshake(config *tls.Config) (tls.ConnectionState, error) {
	s.t.Helper()
	conn, err := (&tls.Dialer{Config: config}).DialContext(s.t.Context(), "tcp", s.Addr)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	state := conn.(*tls.Conn).ConnectionState()
	if state.NegotiatedProtocol == "h2" {
		return state, nil
	}
	if _, err := io.WriteString(conn, "GET /health HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
		return state, err
	}
	_, err = bufio.NewReader(conn).ReadString('\n')
	return state, err
}

func TestTLSVersionsAndProtocols(t *testing.T) {
	a := newAuthority(t)
	s := newTLSStack(t, a, nil)
	for _, test := range []struct {
		name         string
		version      uint16
		suites       []uint16
		offer        []string
		wantProtocol string
		refused      bool
	}{
		{"TLS 1.0", tls.VersionTLS10, nil, nil, "", true},
		{"TLS 1.1", tls.VersionTLS11, nil, nil, "", true},
		{"TLS 1.2", tls.VersionTLS12, nil, nil, "", false},
		{"TLS 1.3", tls.VersionTLS13, nil, nil, "", false},
		{"HTTP/2", tls.VersionTLS13, nil, []string{"h2", "http/1.1"}, "h2", false},
		{"HTTP/1.1", tls.VersionTLS12, nil, []string{"http/1.1"}, "http/1.1", false},
		{"CBC", tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256}, nil, "", true},
		{"no forward secrecy", tls.VersionTLS12, []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256}, nil, "", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			state, err := s.handshake(&tls.Config{
				RootCAs: a.roots(), MinVersion: test.version, MaxVersion: test.version, CipherSuites: test.suites, NextProtos: test.offer,
			})
			if (err != nil) != test.refused {
				t.Fatalf("handshake: %v", err)
			}
			if !test.refused && (state.Version != test.version || state.NegotiatedProtocol != test.wantProtocol) {
				t.Errorf("version %x, protocol %q", state.Version, state.NegotiatedProtocol)
			}
		})
	}
	s.speak(&tls.Config{RootCAs: a.roots()})
	if reply := s.do(http.MethodGet, "/api/v1/functions", ""); reply.Status != http.StatusOK {
		t.Errorf("by HTTP/2: %d %s", reply.Status, reply.Body)
	}
}

// TestPlainHTTPToTheTLSPort ends at once, and so does who connects and says nothing.
func TestPlainHTTPToTheTLSPort(t *testing.T) {
	s := newTLSStack(t, newAuthority(t), func(state *State) { state.Listener.HeadersTimeout = time.Second })
	for name, said := range map[string]string{"plain HTTP": "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "nothing": ""} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", s.Addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			if _, err := io.WriteString(conn, said); err != nil {
				t.Fatal(err)
			}
			answer, err := io.ReadAll(conn)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("the connection hangs")
			}
			if len(answer) > 0 && bytes.HasPrefix(answer, []byte("HTTP/")) {
				t.Errorf("it is answered: %s", answer)
			}
		})
	}
}

func TestClientCertificates(t *testing.T) {
	a, clients, foreign := newAuthority(t), newAuthority(t), newAuthority(t)
	s := newTLSStack(t, a, func(state *State) { state.Listener.TLS.ClientCA = clients.pem() })
	forged := []string{"x-forwarded-client-cert", `By=x;Hash=1;Subject="CN=root"`}
	path := executePath + "/" + somePlainID()
	for _, test := range []struct {
		name   string
		config *tls.Config
		want   []string // in the header that the host gets; nil: it gets none
	}{
		{"none", &tls.Config{RootCAs: a.roots()}, nil},
		{"ours", &tls.Config{RootCAs: a.roots(), Certificates: clients.pair()}, []string{`Subject="CN=envoke control"`, "URI=" + mtls.Control.URI(), "DNS=client.example"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s.speak(test.config)
			reply := s.do(http.MethodPost, path, "{}", forged...)
			got := decode(t, reply).Header.Values("X-Forwarded-Client-Cert")
			if (len(got) == 0) != (test.want == nil) || strings.Contains(fmt.Sprint(got), "root") {
				t.Errorf("the host got %q", got)
			}
			for _, want := range test.want {
				if !strings.Contains(fmt.Sprint(got), want) {
					t.Errorf("the host got %q without %s", got, want)
				}
			}
		})
	}
	t.Run("another authority's", func(t *testing.T) {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			_, err := s.handshake(&tls.Config{RootCAs: a.roots(), MaxVersion: version, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				return &foreign.pair()[0], nil // although the server asks for one of ours
			}})
			if err == nil {
				t.Errorf("version %x: it was taken", version)
			}
		}
	})
	s.state.Listener.TLS.ClientCA = foreign.pem() + clients.pem()
	if err := s.controller.Publish(t.Context(), s.state); err != nil {
		t.Fatal(err)
	}
	testrig.Succeeds(t, func() error {
		_, err := s.handshake(&tls.Config{RootCAs: a.roots(), Certificates: foreign.pair()})
		return err
	})
	// One that is taken out is refused, also by who was taken before and resumes.
	known := &tls.Config{RootCAs: a.roots(), Certificates: clients.pair(), ClientSessionCache: tls.NewLRUClientSessionCache(8)}
	for range 2 {
		if _, err := s.handshake(known); err != nil {
			t.Fatal(err)
		}
	}
	s.state.Listener.TLS.ClientCA = foreign.pem()
	if err := s.controller.Publish(t.Context(), s.state); err != nil {
		t.Fatal(err)
	}
	testrig.Eventually(t, "the other authority to be refused", func() bool {
		_, err := s.handshake(known)
		return err != nil
	})
}

// TestClientCertificateHeaderWithoutCA is removed from requests, with TLS and without.
func TestClientCertificateHeaderWithoutCA(t *testing.T) {
	for name, s := range map[string]*stack{"plain": newStack(t, nil), "TLS": newTLSStack(t, newAuthority(t), nil)} {
		reply := s.do(http.MethodPost, executePath+"/"+somePlainID(), "{}", "X-Forwarded-Client-Cert", "Subject=root")
		if got := decode(t, reply).Header.Values("X-Forwarded-Client-Cert"); len(got) > 0 {
			t.Errorf("%s: the host got %q", name, got)
		}
	}
}

// TestRenewalUnderLoad: connections go on with the certificate that they began with, new ones
// see the new one, and no request fails.
func TestRenewalUnderLoad(t *testing.T) {
	a := newAuthority(t)
	s := newTLSStack(t, a, nil)
	old, err := s.handshake(&tls.Config{RootCAs: a.roots()})
	if err != nil {
		t.Fatal(err)
	}
	kept, err := tls.Dial("tcp", s.Addr, &tls.Config{RootCAs: a.roots()})
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var callers sync.WaitGroup
	var answered, failed atomic.Int64
	for n := range 8 {
		client := &http.Client{Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: a.roots()}, ForceAttemptHTTP2: n%2 == 0, DisableKeepAlives: n%4 == 1,
		}}
		callers.Go(func() {
			defer client.CloseIdleConnections()
			for ctx.Err() == nil {
				reply, err := client.Get("https://" + s.Addr + "/api/v1/functions")
				if err == nil {
					_, err = io.Copy(io.Discard, reply.Body)
					_ = reply.Body.Close()
				}
				if err != nil || reply.StatusCode != http.StatusOK {
					failed.Add(1)
					t.Error(err)
				}
				answered.Add(1)
			}
		})
	}
	last := old
	for range 5 {
		before := answered.Load()
		s.state.Listener.TLS = a.server()
		if err := s.controller.Publish(t.Context(), s.state); err != nil {
			t.Fatal(err)
		}
		testrig.Eventually(t, "the new certificate, and requests", func() bool {
			now, err := s.handshake(&tls.Config{RootCAs: a.roots()})
			return err == nil && !now.PeerCertificates[0].Equal(last.PeerCertificates[0]) && answered.Load() > before+50
		})
		if last, err = s.handshake(&tls.Config{RootCAs: a.roots()}); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	callers.Wait()
	t.Logf("%d requests, %d failed", answered.Load(), failed.Load())
	_ = kept.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(kept, "GET /api/v1/functions HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(kept).ReadString('\n'); err != nil || !strings.Contains(line, "200") {
		t.Errorf("a connection of before the renewals: %q, %v", line, err)
	}
}

// TestTheKeyIsShownNowhere: not by Envoy's admin interface, by its log, or by ours.
func TestTheKeyIsShownNowhere(t *testing.T) {
	a := newAuthority(t)
	s := newTLSStack(t, a, nil)
	key := string(s.state.Listener.TLS.Key)
	body := strings.Split(key, "\n")[1]
	admin := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(s.Dir, "admin.sock"))
	}}}
	for _, path := range []string{"/config_dump", "/config_dump?include_eds", "/certs"} {
		reply, err := admin.Get("http://envoy" + path)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(reply.Body)
		_ = reply.Body.Close()
		if err != nil || len(text) == 0 {
			t.Fatalf("%s: %v", path, err)
		}
		if path == "/config_dump" && !bytes.Contains(text, []byte(base64.StdEncoding.EncodeToString([]byte("[redacted]")))) {
			t.Error("the dump has no redacted key: is the secret in it?")
		}
		for _, secret := range []string{body, base64.StdEncoding.EncodeToString([]byte(key))[:60]} {
			if bytes.Contains(text, []byte(secret)) {
				t.Errorf("%s shows the key", path)
			}
		}
	}
	if text := fmt.Sprintf("%v %+v %#v", s.state, s.state, s.controller.Status()); strings.Contains(text, body) {
		t.Error("a printed state shows the key")
	}
	golden, err := os.ReadFile("testdata/edge.golden.yaml")
	if err != nil || bytes.Contains(golden, []byte("the key")) || bytes.Contains(golden, []byte(base64.StdEncoding.EncodeToString([]byte("the key")))) {
		t.Errorf("the golden file has the key (%v)", err)
	}
}

// somePlainID goes straight to a host.
func somePlainID() string { return string(faas.SessionKey{}.NewID(faas.NodeJS, true)) }
