package main

import (
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"envoke/internal/testrig"
)

// TestHostThatHangs: Envoy itself notices a host that answers nothing, also where nobody can tell
// that it is gone, and leaves it out until it answers again.
func TestHostThatHangs(t *testing.T) {
	f, first, _ := startFleet(t)
	_, secondAt := f.startHost(t)
	f.awaitHost(t, secondAt, true)
	var urls []string
	for range 8 { // some of each host
		urls = append(urls, f.base+"/api/v1/execute/"+f.initialize(t, "return event.params"))
	}
	hasty := &http.Client{Timeout: time.Second}
	defer hasty.CloseIdleConnections()
	all := func() bool {
		for _, url := range urls {
			r, err := sendBy(hasty, http.MethodPost, url, `{"params":1}`)
			if err != nil || r.status != http.StatusOK {
				return false
			}
		}
		return true
	}
	testrig.Eventually(t, "all to be answered", all)
	f.redis.Kill(t)
	if err := first.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = first.Process.Signal(syscall.SIGCONT) }()
	if all() {
		t.Fatal("no session is of the host that hangs")
	}
	// Connections that fail leave it out as well, but only for moments.
	since := time.Now()
	testrig.Eventually(t, "all to be answered by the other host, from then on", func() bool {
		if !all() {
			since = time.Now()
		}
		return time.Since(since) > 5*time.Second
	})
	if err := first.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	testrig.Eventually(t, "Envoy to use it again", func() bool {
		clusters, err := f.askAdmin("/clusters")
		return err == nil && !strings.Contains(clusters, "/failed_active_hc")
	})
	testrig.Eventually(t, "all to be answered", all)
}
