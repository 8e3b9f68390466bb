package endpoints_test

import (
	"encoding/json"
	"testing"
	"time"

	"envoke/internal/endpoints"
	"envoke/internal/faas"
	"envoke/internal/testrig"
)

func (r *rig) lie(address string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.liars[address] = true
}

// pass lets time pass in which address stays in use.
func (r *rig) pass(t *testing.T, address string, d time.Duration) {
	t.Helper()
	end := time.Now().Add(d)
	testrig.Eventually(t, "some time", func() bool {
		if !r.knows(address) {
			t.Fatal("the host is out of use")
		}
		return time.Now().After(end)
	})
}

// TestRedisTakesNothing: hosts that answer stay in use where none can say that it is there, and
// one that does not answer goes as soon as otherwise.
func TestRedisTakesNothing(t *testing.T) {
	for name, fault := range map[string][]any{
		"full":      {"CONFIG", "SET", "maxmemory", "1"},
		"read-only": {"REPLICAOF", "127.0.0.1", "1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.announce(t, one)
			r.follow(t)
			testrig.Eventually(t, "the host", func() bool { return r.knows(one) })
			before := r.times()
			r.mu.Lock()
			r.busy = true // such a host runs plain executes yet
			r.mu.Unlock()
			r.server.Do(t, fault...)
			r.pass(t, one, 2*endpoints.Life)
			if more := r.times() - before; more > 0 {
				t.Errorf("told %d times more: the hosts were others for a moment", more)
			}
			r.lie(one)
			started := time.Now()
			testrig.Eventually(t, "the host that is gone to go", func() bool { return !r.knows(one) })
			if took := time.Since(started); took > endpoints.Life {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// TestPoisoned: who writes to Redis what a host does not say of itself brings no other address
// into use, and takes no host out.
func TestPoisoned(t *testing.T) {
	for name, change := range map[string]func(*faas.Host){
		"another address":  func(h *faas.Host) { h.Address = two },
		"another language": func(h *faas.Host) { h.Language = faas.Python },
		"no address":       func(h *faas.Host) { h.Address = "" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.lie(two)
			r.proves = faas.NodeJS
			leave := r.announce(t, one)
			r.follow(t)
			testrig.Eventually(t, "the host", func() bool { return r.knows(one) })
			before := r.times()
			poison := host(one)
			change(&poison)
			raw, err := json.Marshal(poison)
			if err != nil {
				t.Fatal(err)
			}
			end := time.Now().Add(endpoints.Life)
			testrig.Eventually(t, "some time", func() bool {
				r.server.Do(t, "SET", "envoke:host:"+poison.Name, raw)
				return time.Now().After(end)
			})
			if more := r.times() - before; more > 0 || !r.knows(one) || r.knows(two) {
				t.Errorf("told %d times more, the host is in use: %v, another address: %v", more, r.knows(one), r.knows(two))
			}
			leave() // its goodbye is heard once nobody writes over it
			testrig.Eventually(t, "the host to go", func() bool { return !r.knows(one) })
		})
	}
}

// TestBegunAnew: a host in the place of one that died is one host, also where the one before
// would seem to answer.
func TestBegunAnew(t *testing.T) {
	r := newRig(t)
	before, after := host(one), host(one)
	before.Name = "test/before"
	say := func(h faas.Host) {
		t.Helper()
		if err := r.hosts.Announce(t.Context(), h, endpoints.Life); err != nil {
			t.Fatal(err)
		}
	}
	say(before)
	r.follow(t)
	testrig.Eventually(t, "the host", func() bool { return r.knows(one) })
	say(after)
	end := time.Now().Add(endpoints.Life + time.Second)
	testrig.Eventually(t, "the one before to be forgotten", func() bool {
		say(after)
		return time.Now().After(end)
	})
	after.Leaving = true
	say(after)
	started := time.Now()
	testrig.Eventually(t, "the host to go", func() bool { return !r.knows(one) })
	if took := time.Since(started); took > endpoints.Life/3 {
		t.Errorf("its goodbye took %v", took)
	}
}
