package main

import (
	"strings"
	"testing"
	"time"

	"envoke/internal/testrig"
)

// TestRedisTakesNothingKeepsHosts: a Redis in which no host can say that it is there fails no
// request, and a host that is killed then is out soon all the same.
func TestRedisTakesNothingKeepsHosts(t *testing.T) {
	f, _, at := startFleet(t)
	second, secondAt := f.startHost(t)
	f.awaitHost(t, secondAt, true)
	l := f.load(t)
	l.more(t, 50)
	for _, fault := range []struct {
		name       string
		begin, end []any
	}{
		{"full", []any{"CONFIG", "SET", "maxmemory", "1"}, []any{"CONFIG", "SET", "maxmemory", "0"}},
		{"read-only", []any{"REPLICAOF", "127.0.0.1", "1"}, []any{"REPLICAOF", "NO", "ONE"}},
	} {
		f.redis.Do(t, fault.begin...)
		began := time.Now()
		testrig.Eventually(t, "much longer than a host lives unheard", func() bool { return time.Since(began) > 10*time.Second })
		if !f.knows(at) || !f.knows(secondAt) {
			t.Errorf("%s: Envoy knows the hosts: %v, %v", fault.name, f.knows(at), f.knows(secondAt))
		}
		l.more(t, 50)
		f.redis.Do(t, fault.end...)
		f.awaitAnnounced(t, at)
	}
	if log := f.running[0].stderr.String(); !strings.Contains(log, "the directory has lost hosts that said no goodbye") {
		t.Error("control does not say that it keeps hosts")
	}
	if refused, err := l.end(); err != nil || refused > 0 {
		t.Errorf("%d requests failed, %v", refused, err)
	}
	t.Log(l)

	f.redis.Do(t, "CONFIG", "SET", "maxmemory", "1")
	_ = second.Process.Kill()
	_ = second.Wait()
	killed := time.Now()
	f.awaitHost(t, secondAt, false)
	if took := time.Since(killed); took > 6500*time.Millisecond || !f.knows(at) {
		t.Errorf("the host that was killed was out after %v; Envoy knows the other one: %v", took, f.knows(at))
	}
}
