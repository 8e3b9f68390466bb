package egress

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
	"golang.org/x/net/dns/dnsmessage"

	"envoke/internal/testrig"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open serves a proxy until the test ends.
func open(t *testing.T, opt Options) *Proxy {
	t.Helper()
	p, err := Open(t.Context(), opt)
	if err != nil {
		t.Fatal(err)
	}
	testrig.Serve(t, p.Serve)
	return p
}

func rulesOf(t *testing.T, allow, deny string) Rules {
	t.Helper()
	rules, err := ParseRules(allow, deny)
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

func letOut(t *testing.T, p *Proxy, owner string) *Way {
	t.Helper()
	w := p.Let(func() User { return User{Owner: owner, Digest: "d1"} })
	t.Cleanup(w.Close)
	return w
}

// clientOf is a client with a way's environment.
func clientOf(t *testing.T, way *Way) *http.Client {
	t.Helper()
	address, err := url.Parse(strings.TrimPrefix(way.Env()[0], "HTTP_PROXY="))
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{Proxy: http.ProxyURL(address), TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// get is the status and the body, or the error.
func get(t *testing.T, client *http.Client, address string) string {
	t.Helper()
	reply, err := client.Get(address)
	if err != nil {
		return err.Error()
	}
	defer reply.Body.Close()
	body, err := io.ReadAll(reply.Body)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprint(reply.StatusCode, " ", strings.TrimSpace(string(body)))
}

// hello answers with what a target sees of a request.
var hello = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	_, _ = fmt.Fprint(w, r.Method, " ", r.RequestURI, " ", r.Host, " ", r.Header.Get("Proxy-Authorization"), r.Header.Get("X-Forwarded-For"))
})

func servers(t *testing.T) (plain, secure *httptest.Server) {
	t.Helper()
	plain, secure = httptest.NewServer(hello), httptest.NewTLSServer(hello)
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	return plain, secure
}

func hostOf(s *httptest.Server) string { return s.Listener.Addr().String() }

func TestLetsOut(t *testing.T) {
	plain, secure := servers(t)
	metrics := prometheus.NewPedanticRegistry()
	p := open(t, Options{Rules: rulesOf(t, hostOf(plain)+","+hostOf(secure), ""), Registerer: metrics})
	client := clientOf(t, letOut(t, p, "o"))
	for _, server := range []*httptest.Server{plain, secure} {
		want := "200 GET /a?b=%20 " + hostOf(server)
		if got := get(t, client, server.URL+"/a?b=%20"); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	client.CloseIdleConnections()
	testrig.Eventually(t, "no connections, and their bytes", func() bool {
		return p.connections() == 0 && testutil.ToFloat64(p.metrics.in) > 1000 && testutil.ToFloat64(p.metrics.out) > 500
	})
	if got := testutil.ToFloat64(p.metrics.requests.WithLabelValues("connected")); got != 2 {
		t.Errorf("%v connections were counted", got)
	}
	if _, err := metrics.Gather(); err != nil {
		t.Error(err)
	}
}

func TestRefuses(t *testing.T) {
	plain, secure := servers(t)
	var log testrig.Text
	p := open(t, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	client := clientOf(t, letOut(t, p, "function:ada"))
	for _, test := range []struct{ url, want string }{
		{plain.URL, "403 egress to " + hostOf(plain) + " is refused: an address that is loopback; the operator could let it pass by EGRESS_ALLOW"},
		{secure.URL, "egress to " + hostOf(secure) + " is refused: an address that is loopback"},
		{"http://169.254.169.254/latest/meta-data/", "403 egress to 169.254.169.254:80 is refused: an address that is link-local"},
		{"https://[fe80::1]/", "link-local"},
		{"http://10.0.0.1/", "private"},
		{"http://localhost/", "loopback"},
		{"https://localhost:9001/", "loopback"},
		{"http://0.0.0.0/", "unspecified"},
		{"http://[::ffff:127.0.0.1]/", "loopback"},
		{fmt.Sprintf("http://127.0.0.1:%d/", p.Port()), "a port of Envoke's own"},
	} {
		if got := get(t, client, test.url); !strings.Contains(got, test.want) {
			t.Errorf("%s: got %q, want %q", test.url, got, test.want)
		}
	}
	if got := testutil.ToFloat64(p.metrics.refused.WithLabelValues("loopback")); got != 5 {
		t.Errorf("%v refusals of loopback were counted", got)
	}
	for _, want := range []string{"egress refused", "owner=function:ada digest=d1 to=169.254.169.254:80"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %q:\n%s", want, log.String())
		}
	}
}

// A name that has another address each time it is asked for is asked for once, and judged
// by the address that is connected to.
func TestRebinding(t *testing.T) {
	target, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	p := open(t, Options{Rules: rulesOf(t, "127.0.0.2", "")})
	way := letOut(t, p, "o")
	names := answering(t, [4]byte{127, 0, 0, 2}, [4]byte{127, 0, 0, 1})
	p.resolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", names.String())
	}}
	to := target.Addr().(*net.TCPAddr)
	out, err := way.dial(t.Context(), targetNamed("rebinding.example.", to.Port))
	if err != nil {
		t.Fatal(err)
	}
	if got := out.RemoteAddr().String(); got != to.String() {
		t.Errorf("connected with %s", got)
	}
	_ = out.Close()
	if _, err = way.dial(t.Context(), targetNamed("rebinding.example.", to.Port)); err == nil || !strings.Contains(err.Error(), "(127.0.0.1) is refused") {
		t.Errorf("the second time: %v", err)
	}
}

func targetNamed(host string, port int) target { return target{host, uint16(port)} }

// answering is a name server whose answer to each question for an IPv4 address is the
// next of them.
func answering(t *testing.T, addresses ...[4]byte) net.Addr {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for buffer := make([]byte, 512); ; {
			n, from, err := conn.ReadFrom(buffer)
			var question dnsmessage.Message
			if err != nil || question.Unpack(buffer[:n]) != nil {
				return
			}
			answer := dnsmessage.Message{Header: dnsmessage.Header{ID: question.ID, Response: true, RecursionAvailable: true}, Questions: question.Questions}
			if asked := question.Questions[0]; asked.Type == dnsmessage.TypeA && len(addresses) > 0 {
				answer.Answers = []dnsmessage.Resource{{
					Header: dnsmessage.ResourceHeader{Name: asked.Name, Type: asked.Type, Class: asked.Class},
					Body:   &dnsmessage.AResource{A: addresses[0]},
				}}
				addresses = addresses[1:]
			}
			raw, _ := answer.Pack()
			_, _ = conn.WriteTo(raw, from)
		}
	})
	t.Cleanup(func() { _ = conn.Close(); serving.Wait() })
	return conn.LocalAddr()
}

// Nobody passes without the secret of a worker that is there.
func TestIdentity(t *testing.T) {
	plain, _ := servers(t)
	p := open(t, Options{Rules: rulesOf(t, hostOf(plain), "")})
	way := letOut(t, p, "o")
	raw := func(authorization string) string {
		conn, err := net.Dial("tcp", fmt.Sprint("127.0.0.1:", p.Port()))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, _ = fmt.Fprintf(conn, "GET %s/ HTTP/1.1\r\nHost: x\r\n%sConnection: close\r\n\r\n", plain.URL, authorization)
		reply, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer reply.Body.Close()
		return fmt.Sprint(reply.StatusCode, reply.Header.Get("Proxy-Authenticate"))
	}
	const unknown = `407Basic realm="envoke"`
	for _, authorization := range []string{"", "Proxy-Authorization: Basic d29ya2VyOg==\r\n", "Proxy-Authorization: Basic d29ya2VyOng=\r\n", "Proxy-Authorization: Bearer x\r\n", "Authorization: Basic d29ya2VyOng=\r\n"} {
		if got := raw(authorization); got != unknown {
			t.Errorf("%q: got %s", authorization, got)
		}
	}
	if got := get(t, clientOf(t, way), plain.URL); !strings.HasPrefix(got, "200") {
		t.Errorf("with the secret: %s", got)
	}
	way.Close()
	if got := get(t, clientOf(t, way), plain.URL); !strings.HasPrefix(got, "407") {
		t.Errorf("when the worker has ended: %s", got)
	}
}

// silent takes connections and says nothing.
func silent(t *testing.T) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var held sync.Map
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			held.Store(conn, nil)
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		accepting.Wait()
		held.Range(func(conn, _ any) bool { return conn.(net.Conn).Close() == nil })
	})
	return listener
}

// tunnel asks for a connection, and returns it with the status line.
func tunnel(t *testing.T, way *Way, to string) (net.Conn, string) {
	t.Helper()
	conn, err := net.Dial("tcp", fmt.Sprint("127.0.0.1:", way.proxy.Port()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	secret := base64.StdEncoding.EncodeToString([]byte("worker:" + way.secret))
	_, _ = fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic %s\r\n\r\n", to, secret)
	line, err := bufio.NewReaderSize(conn, 16).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return conn, strings.TrimSpace(line)
}

func ends(conn net.Conn) bool {
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	_, err := io.Copy(io.Discard, conn)
	return err == nil || !strings.Contains(err.Error(), "timeout")
}

func TestLimits(t *testing.T) {
	target := silent(t)
	p := open(t, Options{Rules: rulesOf(t, target.Addr().String(), ""), Limits: Limits{PerWorker: 2, All: 3}})
	a, b := letOut(t, p, "a"), letOut(t, p, "b")
	const connected, limited = "HTTP/1.1 200 Connection established", "HTTP/1.1 429 too many connections: a worker may have 2 at once, and all have 3"
	for i, step := range []struct {
		way  *Way
		want string
	}{{a, connected}, {a, connected}, {a, limited}, {b, connected}, {b, limited}} {
		if _, got := tunnel(t, step.way, target.Addr().String()); got != step.want {
			t.Errorf("%d: got %q, want %q", i, got, step.want)
		}
	}
	a.Close() // its connections end, and are others' to have
	testrig.Eventually(t, "connections of a worker that has ended", func() bool { return p.connections() == 1 })
	if _, got := tunnel(t, b, target.Addr().String()); got != connected {
		t.Errorf("got %q", got)
	}
}

func TestDeadlines(t *testing.T) {
	target := silent(t)
	for name, limits := range map[string]Limits{"idle": {Idle: 50 * time.Millisecond}, "total": {Total: 50 * time.Millisecond}} {
		t.Run(name, func(t *testing.T) {
			p := open(t, Options{Rules: rulesOf(t, target.Addr().String(), ""), Limits: limits})
			conn, _ := tunnel(t, letOut(t, p, "o"), target.Addr().String())
			if !ends(conn) {
				t.Error("the connection goes on")
			}
		})
	}
}

func TestHalfClose(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		got, _ := io.ReadAll(conn) // to the end of what the worker sends
		_, _ = conn.Write(append([]byte("got "), got...))
	}()
	p := open(t, Options{Rules: rulesOf(t, listener.Addr().String(), "")})
	conn, _ := tunnel(t, letOut(t, p, "o"), listener.Addr().String())
	_, _ = io.WriteString(conn, "hello")
	_ = conn.(*net.TCPConn).CloseWrite()
	if got, err := io.ReadAll(conn); err != nil || !strings.HasSuffix(string(got), "got hello") {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestFailures(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	p := open(t, Options{Rules: rulesOf(t, "127.0.0.1", "")})
	way := letOut(t, p, "o")
	for to, want := range map[string]string{
		closed.Addr().String(): "HTTP/1.1 502 egress to " + closed.Addr().String() + " failed: connect: connection refused",
		"nowhere.invalid:443":  "HTTP/1.1 502 egress to nowhere.invalid:443 failed: ",
		"example.com":          "HTTP/1.1 400 ",
		"a%0d%0ab:80":          "HTTP/1.1 400 ",
	} {
		if _, got := tunnel(t, way, to); !strings.HasPrefix(got, want) {
			t.Errorf("%s: got %q, want %q", to, got, want)
		}
	}
	if got := get(t, clientOf(t, way), "http://"+closed.Addr().String()); !strings.HasPrefix(got, "502 egress to ") {
		t.Errorf("got %q", got)
	}
}

func TestOwnPorts(t *testing.T) {
	p := open(t, Options{})
	p.Own(9000)
	for at, want := range map[string]bool{"127.0.0.1:9000": true, "[::1]:9000": true, "127.0.0.1:9001": false, "8.8.8.8:9000": false} {
		if got := p.isOwn(netip.MustParseAddrPort(at)); got != want {
			t.Errorf("%s: %v", at, got)
		}
	}
}
