package mtls_test

import (
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"envoke/internal/httpserver"
	"envoke/internal/mtls"
	"envoke/internal/testrig"
)

func open(t testing.TB, s mtls.Set, role mtls.Role) *mtls.Identity {
	t.Helper()
	i, err := mtls.Open(options(s, role))
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func options(s mtls.Set, role mtls.Role) mtls.Options {
	return mtls.Options{
		Files: mtls.FilesIn(filepath.Join(s.Dir, string(role))), Role: role,
		Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	}
}

// servePort serves both protocols on a port of its own and gives its address.
func servePort(t *testing.T, identity *mtls.Identity, allowed mtls.Allowed, rights mtls.Rights) string {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := mtls.NewPort(mtls.PortOptions{
		Listener: inner, Identity: identity, Allowed: allowed,
		Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	})
	testrig.Serve(t, port.Serve)
	server := grpc.NewServer(rights.ServerOptions()...)
	healthv1.RegisterHealthServer(server, health.NewServer())
	served := make(chan error, 2)
	go func() { served <- server.Serve(port.Of(mtls.GRPC)) }()
	web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") })}
	go func() { served <- httpserver.Serve(t.Context(), web, port.Of(mtls.HTTP), time.Second) }()
	t.Cleanup(func() {
		server.Stop()
		<-served
		<-served
	})
	return inner.Addr().String()
}

func getBy(config *tls.Config, address string) (string, error) {
	transport := &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	reply, err := (&http.Client{Transport: transport, Timeout: 5 * time.Second}).Get("https://" + address)
	if err != nil {
		return "", err
	}
	defer reply.Body.Close()
	raw, err := io.ReadAll(reply.Body)
	return string(raw), err
}

// TestPort: each protocol goes to its listener, for the roles that may speak it.
func TestPort(t *testing.T) {
	s, other := newSet(t), newSet(t)
	address := servePort(t, open(t, s, mtls.Control),
		mtls.Allowed{mtls.HTTP: {mtls.Envoy}, mtls.GRPC: {mtls.Envoy, mtls.Host}},
		mtls.Rights{"grpc.health.v1.Health": {mtls.Host}})
	for _, test := range []struct {
		name   string
		config *tls.Config
		ok     bool
	}{
		{"a wanted role", open(t, s, mtls.Envoy).Client(mtls.Control, mtls.HTTP), true},
		{"another role", open(t, s, mtls.Host).Client(mtls.Control, mtls.HTTP), false},
		{"another installation's", open(t, other, mtls.Envoy).Client(mtls.Control, mtls.HTTP), false},
		{"no certificate", &tls.Config{InsecureSkipVerify: true}, false},
		{"who wants a host", open(t, s, mtls.Envoy).Client(mtls.Host, mtls.HTTP), false},
		{"no protocol", open(t, s, mtls.Envoy).Client(mtls.Control, "h3"), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			text, err := getBy(test.config, address)
			if (err == nil && text == "hello") != test.ok {
				t.Errorf("%q, %v", text, err)
			}
		})
	}
	for role, want := range map[mtls.Role]codes.Code{mtls.Host: codes.OK, mtls.Envoy: codes.PermissionDenied, mtls.Control: codes.Unavailable} {
		conn, err := grpc.NewClient(address, open(t, s, role).DialOptions(mtls.Control)...)
		if err != nil {
			t.Fatal(err)
		}
		_, err = healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{})
		if status.Code(err) != want {
			t.Errorf("%s: %v, want %s", role, err, want)
		}
		conn.Close()
	}
}

// TestOpenRefuses what would fail at the first connection.
func TestOpenRefuses(t *testing.T) {
	s, other := newSet(t), newSet(t)
	old := mtls.Set{Dir: t.TempDir(), Life: time.Second, Now: time.Now().Add(-time.Hour)}
	if err := old.Make(false); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		o    func() mtls.Options
		want string
	}{
		{"another role", func() mtls.Options {
			o := options(s, mtls.Envoy)
			o.Role = mtls.Host
			return o
		}, "its role is envoy"},
		{"another's authority", func() mtls.Options {
			o := options(s, mtls.Host)
			o.CA = options(other, mtls.Host).CA
			return o
		}, "not of an authority in TLS_CA"},
		{"another's key", func() mtls.Options {
			o := options(s, mtls.Host)
			o.Key = options(other, mtls.Host).Key
			return o
		}, "TLS_CERT and TLS_KEY"},
		{"no file", func() mtls.Options {
			o := options(s, mtls.Host)
			o.Cert = "/nowhere"
			return o
		}, "TLS_CERT: "},
		{"its time is over", func() mtls.Options { return options(old, mtls.Host) }, "expired"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := mtls.Open(test.o()); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %s", err, test.want)
			}
		})
	}
}

// TestReload: new files are taken up by both sides while they run, and files that make no sense
// are not.
func TestReload(t *testing.T) {
	s := newSet(t)
	server, client := open(t, s, mtls.Control), open(t, s, mtls.Envoy)
	address := servePort(t, server, mtls.Allowed{mtls.HTTP: {mtls.Envoy}, mtls.GRPC: {mtls.Envoy}}, nil)
	config := client.Client(mtls.Control, mtls.HTTP)
	shown := func() string {
		conn, err := tls.Dial("tcp", address, config)
		if err != nil {
			return err.Error()
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	before := shown()
	if err := s.Renew(); err != nil {
		t.Fatal(err)
	}
	testrig.Eventually(t, "the renewed certificate", func() bool {
		now := shown()
		return now != before && !strings.Contains(now, " ")
	})
	// Another authority, which both sides follow.
	if err := s.Make(true); err != nil {
		t.Fatal(err)
	}
	testrig.Eventually(t, "the other authority's", func() bool {
		text, err := getBy(config, address)
		return err == nil && text == "hello"
	})
}
