package xds

import (
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"envoke/internal/routing"
)

// TestUpstreamTLS: a service must show the name that is asked for, by an authority that is
// believed.
func TestUpstreamTLS(t *testing.T) {
	s := newStack(t, nil)
	service := httptest.NewTLSServer(upstream("secret"))
	t.Cleanup(service.Close)
	authority := filepath.Join(s.dir, "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: service.Certificate().Raw})
	if err := os.WriteFile(authority, text, 0o600); err != nil {
		t.Fatal(err)
	}
	at := routing.UpstreamEndpoint{Host: "127.0.0.1", Port: service.Listener.Addr().(*net.TCPAddr).Port}
	for name, tls := range map[string]routing.UpstreamTLS{
		"good":    {Hostname: "example.com", CAFile: authority},
		"address": {Hostname: "127.0.0.1", CAFile: authority},
		"other":   {Hostname: "example.org", CAFile: authority},
		"system":  {Hostname: "example.com"},
	} {
		s.state.Routing.Upstreams = append(s.state.Routing.Upstreams, routing.Upstream{Name: name, Endpoints: []routing.UpstreamEndpoint{at}, TLS: &tls})
		s.state.Routing.Routes = append(s.state.Routing.Routes, routeTo(name, to(name)))
	}
	s.publish(s.state)
	for host, want := range map[string]int{"good": 200, "address": 200, "other": 503, "system": 503} {
		if reply := s.at(host, "GET", "/"); reply.Status != want {
			t.Errorf("%s: status %d, want %d: %s", host, reply.Status, want, reply.Body)
		}
	}
}

// TestWebSocket: a service that knows them goes on to do so.
func TestWebSocket(t *testing.T) {
	s := newStack(t, nil)
	path := filepath.Join(s.dir, "socket.sock")
	serveHTTP(t, path, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "websocket" {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		_ = conn.Close()
	}))
	s.state.Routing.Upstreams = []routing.Upstream{{Name: "socket", Endpoints: []routing.UpstreamEndpoint{{Path: path}}}}
	s.state.Routing.Routes = []routing.Route{routeTo("a", to("socket"))}
	s.publish(s.state)
	reply := s.at("a", "GET", "/", "Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version", "13")
	if reply.Status != http.StatusSwitchingProtocols {
		t.Errorf("status %d: %s", reply.Status, reply.Body)
	}
}

// TestOwnSockets: nobody reaches Envoke's own parts by declaring them.
func TestOwnSockets(t *testing.T) {
	state := validState()
	state.OwnFolder = "/run/envoke/"
	for path, refused := range map[string]bool{"/run/envoke/api.sock": true, "/run/./envoke//envoy-admin.sock": true, "/run/shop.sock": false, "/run/envoke/shop/a.sock": false} {
		state.Routing.Upstreams = []routing.Upstream{{Name: "a", Endpoints: []routing.UpstreamEndpoint{{Path: path}}}}
		if _, err := Build(state); (err != nil) != refused {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestHooksAreCheckedOfEachState: also where only a route with a hostname changed.
func TestHooksAreCheckedOfEachState(t *testing.T) {
	state := validState()
	b := new(builder)
	if _, err := b.build(state); err != nil {
		t.Fatal(err)
	}
	state.Routing.Routes = []routing.Route{{Name: "a", Hostnames: []string{"a"}, Rules: []routing.Rule{{
		Hooks: onRequest("nodejs-guard", routing.FailOpen),
	}}}}
	_, err := b.build(state)
	if err == nil || !strings.Contains(err.Error(), `route "a"`) {
		t.Errorf("a hook of a language whose hosts answer no gRPC: %v", err)
	}
}
