package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	resourcev3 "github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"envoke/internal/controlpb"
	"envoke/internal/mtls"
	"envoke/runtimes/runtimepb"
)

// caller is somebody who tries the internal ports. Without a config it speaks no TLS.
type caller struct {
	name   string
	role   mtls.Role // of this installation; empty: a stranger
	config func(protocol string) *tls.Config
}

func (f *fleet) strangers(t *testing.T) []caller {
	t.Helper()
	other := mtls.Set{Dir: t.TempDir(), Life: time.Hour, Now: time.Now()}
	if err := other.Make(false); err != nil {
		t.Fatal(err)
	}
	all := []caller{
		{name: "no TLS"},
		{name: "no certificate", config: func(string) *tls.Config { return &tls.Config{} }},
	}
	for _, role := range mtls.Roles() {
		all = append(all, caller{name: "another authority's " + string(role), config: shows(t, other, role)})
	}
	for _, role := range mtls.Roles() {
		all = append(all, caller{name: "the role " + string(role), role: role, config: shows(t, f.certs, role)})
	}
	return all
}

// shows is the TLS of one who shows a certificate of the set and believes anybody.
func shows(t *testing.T, s mtls.Set, role mtls.Role) func(string) *tls.Config {
	t.Helper()
	files := mtls.FilesIn(filepath.Join(s.Dir, string(role)))
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		t.Fatal(err)
	}
	return func(string) *tls.Config { return &tls.Config{Certificates: []tls.Certificate{pair}} }
}

// tls has the caller ask for the protocol.
func (c caller) tls(protocol string) *tls.Config {
	if c.config == nil {
		return nil
	}
	config := c.config(protocol)
	config.InsecureSkipVerify = true
	config.NextProtos = []string{protocol}
	return config
}

// get tells whether an HTTP request is answered, whatever the answer.
func (c caller) get(address, path string) error {
	config, scheme := c.tls(mtls.HTTP), "https://"
	if config == nil {
		scheme = "http://"
	}
	transport := &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	reply, err := (&http.Client{Transport: transport, Timeout: 10 * time.Second}).Get(scheme + address + path)
	if err != nil {
		return err
	}
	defer reply.Body.Close()
	if scheme == "http://" && reply.StatusCode == http.StatusBadRequest {
		return fmt.Errorf("it was told to speak TLS")
	}
	return nil
}

// call makes a gRPC call. What is answered by anything but a refusal is got.
func (c caller) call(t *testing.T, address string, do func(context.Context, *grpc.ClientConn) error) error {
	t.Helper()
	to := insecure.NewCredentials()
	if config := c.tls(mtls.GRPC); config != nil {
		to = credentials.NewTLS(config)
	}
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(to))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err = do(ctx, conn)
	switch code := status.Code(err); code {
	case codes.Unavailable, codes.PermissionDenied, codes.DeadlineExceeded:
		return err
	}
	return nil
}

func askXDS(node string) func(context.Context, *grpc.ClientConn) error {
	return func(ctx context.Context, conn *grpc.ClientConn) error {
		stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
		if err != nil {
			return err
		}
		_ = stream.Send(&discoveryv3.DeltaDiscoveryRequest{Node: &corev3.Node{Id: node}, TypeUrl: resourcev3.ClusterType})
		_, err = stream.Recv()
		return err
	}
}

func askExtProc(ctx context.Context, conn *grpc.ClientConn) error {
	stream, err := extprocv3.NewExternalProcessorClient(conn).Process(ctx)
	if err != nil {
		return err
	}
	_ = stream.Send(&extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_RequestHeaders{RequestHeaders: &extprocv3.HttpHeaders{}}})
	_, err = stream.Recv()
	return err
}

func askWatch(ctx context.Context, conn *grpc.ClientConn) error {
	stream, err := controlpb.NewControlClient(conn).Watch(ctx)
	if err != nil {
		return err
	}
	_ = stream.Send(&controlpb.WatchRequest{Host: "somebody", Language: "nodejs"})
	_, err = stream.Recv()
	return err
}

func askScript(ctx context.Context, conn *grpc.ClientConn) error {
	_, err := controlpb.NewControlClient(conn).FindScript(ctx, &controlpb.FindScriptRequest{Digest: "x"})
	return err
}

func askHealth(ctx context.Context, conn *grpc.ClientConn) error {
	_, err := healthv1.NewHealthClient(conn).Check(ctx, &healthv1.HealthCheckRequest{})
	return err
}

func askExecute(ctx context.Context, conn *grpc.ClientConn) error {
	_, err := runtimepb.NewRuntimeServiceClient(conn).Execute(ctx, &runtimepb.ExecuteRequest{})
	return err
}

// TestInternalPorts tries every internal port as everybody: without a certificate, with one of
// another authority, and with one of each role. Nobody gets what is not their role's.
func TestInternalPorts(t *testing.T) {
	f, _, host := startFleet(t)
	control := f.controls[0]
	for _, port := range []struct {
		name    string
		try     func(caller) error
		allowed []mtls.Role
	}{
		{"control's API", func(c caller) error { return c.get(control, "/api/v1/functions") }, []mtls.Role{mtls.Envoy}},
		{"xDS", func(c caller) error { return c.call(t, control, askXDS("envoke")) }, []mtls.Role{mtls.Envoy}},
		{"xDS of a node that nobody knows", func(c caller) error { return c.call(t, control, askXDS("another")) }, nil},
		{"ext_proc", func(c caller) error { return c.call(t, control, askExtProc) }, []mtls.Role{mtls.Envoy}},
		{"the watch, with the key of session ids", func(c caller) error { return c.call(t, control, askWatch) }, []mtls.Role{mtls.Host}},
		{"code", func(c caller) error { return c.call(t, control, askScript) }, []mtls.Role{mtls.Host}},
		{"control's health", func(c caller) error { return c.call(t, control, askHealth) }, mtls.Roles()},
		{"a host's requests", func(c caller) error { return c.get(host, "/health") }, []mtls.Role{mtls.Envoy, mtls.Control}},
		{"a host's gRPC", func(c caller) error { return c.call(t, host, askExecute) }, []mtls.Role{mtls.Envoy}},
		{"a host's health by gRPC", func(c caller) error { return c.call(t, host, askHealth) }, []mtls.Role{mtls.Envoy}},
	} {
		for _, c := range f.strangers(t) {
			t.Run(port.name+"/"+c.name, func(t *testing.T) {
				err := port.try(c)
				if want := slices.Contains(port.allowed, c.role); (err == nil) != want {
					t.Errorf("it got something: %v (%v), want %v", err == nil, err, want)
				}
			})
		}
	}
}

// TestRenewedCertificates are taken up by all parts as they run: links that are made then show
// them, to Envoy and by Envoy.
func TestRenewedCertificates(t *testing.T) {
	f, _, _ := startFleet(t)
	serial := func() string { return f.adminOf(t, "/certs") }
	before := serial()
	l := f.load(t)
	l.more(t, 50)
	if err := f.certs.Renew(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(20 * time.Second)
	for serial() == before && time.Now().Before(deadline) {
		l.more(t, 1)
	}
	if serial() == before {
		t.Errorf("Envoy has its old certificate:\n%s", before)
	}
	_, at := f.startHost(t) // whoever connects to it, and it to them, does so by the new ones
	f.awaitHost(t, at, true)
	l.more(t, 100)
	if refused, err := l.end(); err != nil || refused > 0 {
		t.Errorf("%d requests failed, %v", refused, err)
	}
}
