package host

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"envoke/internal/testrig"
)

// serving is conns before a handler, without the rest of a host.
type serving struct {
	*conns
	path  string
	stop  context.CancelFunc
	ended chan error
}

func startConns(t *testing.T, grace time.Duration, handler fasthttp.RequestHandler) *serving {
	t.Helper()
	path := filepath.Join(testrig.Dir(t), "s")
	ctx, stop := context.WithCancel(t.Context())
	server := &fasthttp.Server{Handler: handler, ConnState: changed, NoDefaultDate: true}
	s := &serving{newConns(testrig.Listen(t, path), server), path, stop, make(chan error, 1)}
	go func() { s.ended <- s.serve(ctx, grace) }()
	return s
}

func (s *serving) dial(t *testing.T) net.Conn {
	t.Helper()
	c, err := (&net.Dialer{}).DialContext(t.Context(), "unix", s.path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

func send(t *testing.T, c io.Writer, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

func (s *serving) active() (n int) {
	for _, c := range s.list() {
		if c.since.Load() != 0 {
			n++
		}
	}
	return n
}

func TestDrain(t *testing.T) {
	release := make(chan struct{})
	s := startConns(t, time.Minute, func(c *fasthttp.RequestCtx) { <-release; c.SetBodyString("done") })
	idle, busy := s.dial(t), s.dial(t)
	send(t, busy, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	testrig.Eventually(t, "one is busy", func() bool { return s.active() == 1 && len(s.list()) == 2 })
	s.stop()
	if _, err := idle.Read(make([]byte, 1)); err == nil {
		t.Error("an idle connection got something")
	}
	close(release)
	got, err := http.ReadResponse(bufio.NewReader(busy), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	if body, err := io.ReadAll(got.Body); string(body) != "done" || err != nil {
		t.Errorf("the request under way got %q, %v", body, err)
	}
	if err := <-s.ended; err != nil {
		t.Error(err)
	}
}

func TestWhatOutlivesTheGraceIsCutOff(t *testing.T) {
	s := startConns(t, time.Millisecond, func(c *fasthttp.RequestCtx) { <-c.Conn().(*conn).ctx.Done() })
	send(t, s.dial(t), "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	testrig.Eventually(t, "it is busy", func() bool { return s.active() == 1 })
	s.stop()
	if err := <-s.ended; err == nil || !strings.HasPrefix(err.Error(), "1 requests") {
		t.Errorf("serve said %v", err)
	}
}

func TestHeadsHaveADeadline(t *testing.T) {
	s := startConns(t, time.Minute, func(*fasthttp.RequestCtx) {})
	slow, idle := s.dial(t), s.dial(t)
	send(t, slow, "GET / HT")
	testrig.Eventually(t, "its head comes", func() bool { return s.active() == 1 && len(s.list()) == 2 })
	for _, c := range s.list() {
		c.look(time.Now().Add(headTimeout))
		c.look(time.Now().Add(headTimeout + time.Second))
	}
	testrig.Eventually(t, "the slow one is ended, the idle one is not", func() bool { return len(s.list()) == 1 })
	send(t, idle, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if got, err := http.ReadResponse(bufio.NewReader(idle), nil); err != nil {
		t.Error(err)
	} else if got.Body.Close(); got.StatusCode != http.StatusOK {
		t.Errorf("status %d", got.StatusCode)
	}
	s.stop()
	<-s.ended
}

func TestAPanicIsOneRequestsFault(t *testing.T) {
	h := New(Options{Language: "nodejs", Engine: nil, Logger: quiet, Registerer: metrics(), MaxTimeout: time.Second})
	s := startConns(t, time.Minute, func(c *fasthttp.RequestCtx) { defer h.recovered(c); panic("secret") })
	c := s.dial(t)
	send(t, c, "GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: 7\r\n\r\n")
	got, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	body, _ := io.ReadAll(got.Body)
	want := `{"error":{"code":"INTERNAL_ERROR","message":"internal error; the log has it under the request's id","details":{"component":"runtime"}},"request_id":"7"}`
	if string(body) != want || got.StatusCode != http.StatusInternalServerError {
		t.Errorf("got %d %s", got.StatusCode, body)
	}
	s.stop()
	<-s.ended
}
