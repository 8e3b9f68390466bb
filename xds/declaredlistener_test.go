package xds

import (
	"crypto/tls"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"envoke/internal/routing"
	"envoke/internal/testrig"
)

// writeFiles replaces files as one does who renews a certificate: by names that are moved.
func writeFiles(t *testing.T, dir string, contents map[string]string) {
	t.Helper()
	for name, text := range contents {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDeclaredListeners: each serves what the first one does, or sends callers to https; another
// certificate in the files is shown to who connects then.
func TestDeclaredListeners(t *testing.T) {
	first, second := newAuthority(t), newAuthority(t)
	dir := t.TempDir()
	files := func(a authority) map[string]string {
		cert, key := a.issue()
		return map[string]string{"tls.crt": cert, "tls.key": key}
	}
	writeFiles(t, dir, files(first))
	s := newStack(t, func(state *State) {
		state.Routing.Listeners = []routing.Listener{
			{Name: "plain", Port: freePort(t), Protocol: routing.HTTP},
			{Name: "old", Port: freePort(t), Protocol: routing.HTTP, RedirectTo: 8443},
			{Name: "secure", Port: freePort(t), Protocol: routing.HTTPS, TLS: routing.ListenerTLS{
				CertificateFile: filepath.Join(dir, "tls.crt"), KeyFile: filepath.Join(dir, "tls.key"),
			}},
		}
	})
	at := func(name string) string {
		address, err := s.ListenerAddr(t.Context(), DeclaredListener(name))
		if err != nil {
			t.Fatal(err)
		}
		return address
	}
	s.Addr = at("plain")
	if reply := s.do(http.MethodGet, "/api/v1/functions", ""); reply.Status != http.StatusOK {
		t.Errorf("by the plain one: %d %s", reply.Status, reply.Body)
	}
	s.Addr = at("old")
	if reply := s.do(http.MethodGet, "/a?b=c", ""); reply.Status != http.StatusMovedPermanently || reply.Header.Get("Location") != "https://127.0.0.1:8443/a?b=c" {
		t.Errorf("by the one that redirects: %d to %q", reply.Status, reply.Header.Get("Location"))
	}
	s.Addr, s.scheme = at("secure"), "https"
	s.speak(&tls.Config{RootCAs: first.roots()})
	if reply := s.do(http.MethodGet, "/api/v1/functions", ""); reply.Status != http.StatusOK {
		t.Errorf("by the one with TLS: %d %s", reply.Status, reply.Body)
	}
	writeFiles(t, dir, files(second))
	testrig.Eventually(t, "the renewed certificate", func() bool {
		_, err := s.handshake(&tls.Config{RootCAs: second.roots()})
		return err == nil
	})
}

func TestFaultsOfDeclaredListeners(t *testing.T) {
	for name, test := range map[string]struct {
		listener routing.Listener
		change   func(*State)
		want     string // empty: none
	}{
		"sound":               {routing.Listener{Name: "a", Port: 8080, Protocol: routing.HTTP}, nil, ""},
		"the first's port":    {routing.Listener{Name: "a", Port: 9000, Protocol: routing.HTTP}, nil, `listener "a": port 9000 is that of the first listener`},
		"no address":          {routing.Listener{Name: "a", Host: "here", Port: 1, Protocol: routing.HTTP}, nil, `host "here" is not an IP address`},
		"open to others":      {routing.Listener{Name: "a", Host: "0.0.0.0", Port: 1, Protocol: routing.HTTP}, nil, "nobody checks who calls"},
		"open, with checks":   {routing.Listener{Name: "a", Host: "0.0.0.0", Port: 1, Protocol: routing.HTTP}, func(s *State) { s.Auth = &Auth{} }, ""},
		"open, as the first":  {routing.Listener{Name: "a", Port: 1, Protocol: routing.HTTP}, func(s *State) { s.Listener.Host = "0.0.0.0" }, ""},
		"QUIC":                {routing.Listener{Name: "a", Port: 1, Protocol: routing.HTTPS, HTTP3: true}, nil, "http3 is not served"},
		"the redirect's port": {routing.Listener{Name: "a", Port: 80, Protocol: routing.HTTP}, func(s *State) { s.Listener.TLS, s.Listener.Redirect = someTLS(), Redirect{Port: 80} }, "is that of the redirect"},
	} {
		t.Run(name, func(t *testing.T) {
			state := validState()
			state.Routing.Listeners = []routing.Listener{test.listener}
			if test.change != nil {
				test.change(&state)
			}
			_, err := Build(state)
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
	state := validState()
	for n := range 2 {
		state.Routing.Listeners = append(state.Routing.Listeners, routing.Listener{Name: strconv.Itoa(n), Port: 1, Protocol: routing.HTTP})
	}
	if _, err := Build(state); err == nil || !strings.Contains(err.Error(), `port 1 is that of listener "0"`) {
		t.Errorf("two of one port: %v", err)
	}
}
