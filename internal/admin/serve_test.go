package admin

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"envoke/internal/testrig"
)

// running is a server under test on a port of its own.
type running struct {
	address string
	cancel  context.CancelFunc
	ended   chan error // takes Serve's result
}

func start(t *testing.T, o Options) running {
	t.Helper()
	listener := listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	r := running{address: listener.Addr().String(), cancel: cancel, ended: make(chan error, 1)}
	go func() { r.ended <- New(o).Serve(ctx, listener) }()
	return r
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

// get is the body of a reply, on a connection of its own.
func (r running) get(t *testing.T, path string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+r.address+path, nil)
	if err != nil {
		t.Error(err)
		return ""
	}
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Error(err)
		return ""
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Error(err)
	}
	return string(body)
}

func (r running) refuses() bool {
	conn, err := new(net.Dialer).DialContext(context.Background(), "tcp", r.address)
	if err != nil {
		return true
	}
	_ = conn.Close()
	return false
}

func TestServeFinishesWhatIsUnderWay(t *testing.T) {
	began, release := make(chan struct{}), make(chan struct{})
	o := options()
	o.Debug["slow"] = func() any { close(began); <-release; return "done" }
	run := start(t, o)
	replies := make(chan string, 1)
	go func() { replies <- run.get(t, "/debug/slow") }()
	<-began
	run.cancel()
	testrig.Eventually(t, "the listener closes", run.refuses)
	close(release)
	if got := <-replies; got != "\"done\"\n" {
		t.Errorf("the request under way got %q", got)
	}
	if err := <-run.ended; err != nil {
		t.Errorf("Serve = %v", err)
	}
}

func TestServeEndsProfilesEarly(t *testing.T) {
	run := start(t, options())
	replies := make(chan string, 1)
	go func() { replies <- run.get(t, "/debug/pprof/trace?seconds=60") }()
	testrig.Eventually(t, "the trace starts", func() bool {
		return strings.Contains(run.get(t, "/debug/pprof/goroutine?debug=2"), "pprof.Trace")
	})
	run.cancel()
	<-replies
	if err := <-run.ended; err != nil {
		t.Errorf("Serve = %v", err)
	}
}

func TestServeReportsAListenerThatFails(t *testing.T) {
	listener := listen(t)
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	if err := New(options()).Serve(t.Context(), listener); err == nil || !strings.HasPrefix(err.Error(), "serve operators: ") {
		t.Errorf("Serve on a closed listener = %v", err)
	}
}
