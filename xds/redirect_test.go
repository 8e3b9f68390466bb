package xds

import (
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

func freePort(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

func TestRedirect(t *testing.T) {
	for _, test := range []struct {
		name string
		to   int
		want string // after the host
	}{
		{"its own port", 0, ":"}, {"a port in front of it", 8443, ":8443"}, {"the port of https", 443, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			port := freePort(t)
			s := newTLSStack(t, newAuthority(t), func(state *State) {
				state.Listener.Port = freePort(t)
				state.Listener.Redirect = Redirect{Port: port, To: test.to}
				state.Listener.HSTS = time.Hour
			})
			if test.to == 0 {
				test.want += strconv.Itoa(s.state.Listener.Port)
			}
			address, err := s.ListenerAddr(t.Context(), RedirectName)
			if err != nil {
				t.Fatal(err)
			}
			s.Addr, s.scheme = address, "http"
			for method, status := range map[string]int{"GET": 301, "HEAD": 301, "POST": 308, "DELETE": 308, "OPTIONS": 308} {
				request, err := http.NewRequest(method, "http://"+address+"/api/v1/execute?a=b%20c", http.NoBody)
				if err != nil {
					t.Fatal(err)
				}
				request.Host = "api.example.com:" + strconv.Itoa(port)
				reply, err := s.client.Do(request)
				if err != nil {
					t.Fatal(err)
				}
				_ = reply.Body.Close()
				if want := "https://api.example.com" + test.want + "/api/v1/execute?a=b%20c"; reply.StatusCode != status || reply.Header.Get("Location") != want {
					t.Errorf("%s: %d to %q, want %d to %q", method, reply.StatusCode, reply.Header.Get("Location"), status, want)
				}
				if reply.Header.Get("X-Content-Type-Options") != "nosniff" || reply.Header.Get("Strict-Transport-Security") != "" {
					t.Errorf("%s: headers %v", method, reply.Header)
				}
			}
			if reply := s.do(http.MethodPost, "/"+strings.Repeat("x", 70<<10), ""); reply.Status != 431 {
				t.Errorf("a long path: %d", reply.Status)
			}
		})
	}
}
