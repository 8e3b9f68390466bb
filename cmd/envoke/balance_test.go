package main

import (
	"net"
	"regexp"
	"strings"
	"testing"

	"envoke/internal/testrig"
)

// TestConnectionsAreSpread opens connections at one moment: each of Envoy's threads gets
// its half of them.
func TestConnectionsAreSpread(t *testing.T) {
	const connections, half = 32, "16"
	i := serve(t, "--envoy-concurrency", "2")
	for range connections {
		c, err := net.Dial("tcp", strings.TrimPrefix(i.base, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	active := regexp.MustCompile(`worker_[01]\.downstream_cx_active: (\d+)`)
	testrig.Eventually(t, "all connections", func() bool {
		stats := i.adminOf(t, "/stats?filter=listener.127.*worker_.*cx_active")
		found := active.FindAllStringSubmatch(stats, -1)
		return len(found) == 2 && found[0][1] == half && found[1][1] == half
	})
}
