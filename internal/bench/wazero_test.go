package bench

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestServeWazero(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	socket := filepath.Join(t.TempDir(), "s")
	done := make(chan error, 1)
	go func() { done <- Command([]string{WazeroCommand, socket})(ctx) }()
	awaitSocket(t, socket)
	endpoint := Endpoint{Network: "unix", Address: socket, Path: "/"}
	if _, err := measure(t.Context(), endpoint, Load{Connections: 4, Duration: 50 * time.Millisecond}); err != nil {
		t.Error(err)
	}
	c, err := dial(t.Context(), endpoint)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	for body, want := range map[string]string{`{"params":{"a":"x","b":2}}`: "status 500", `{`: "status 400"} {
		if _, err := c.roundTrip(newRequest(endpoint, []byte(body))); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %s", body, err, want)
		}
	}
	c.close()
	cancel()
	if err := <-done; err != nil {
		t.Errorf("it ended with %v", err)
	}
}

// awaitSocket waits until something listens.
func awaitSocket(t *testing.T, socket string) {
	t.Helper()
	p, err := startProcess(t.Context(), group{"test", Other}, []string{"sleep", "60"}) // for its waitFor only
	if err != nil {
		t.Fatal(err)
	}
	defer p.stop()
	if err := p.waitFor(t.Context(), accepts(t.Context(), socket)); err != nil {
		t.Fatal(err)
	}
}

func TestCommand(t *testing.T) {
	if Command(nil) != nil || Command([]string{"-quick"}) != nil {
		t.Error("arguments of the benchmark are taken for a server's")
	}
	if err := Command([]string{ProxyCommand, "/one"})(t.Context()); err == nil {
		t.Error("a proxy without an upstream: no error")
	}
}
