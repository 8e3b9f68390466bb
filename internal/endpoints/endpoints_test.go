package endpoints_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"envoke/internal/endpoints"
	"envoke/internal/faas"
	"envoke/internal/redis"
	"envoke/internal/testrig"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a follower over a real Redis.
type rig struct {
	server *testrig.RedisServer
	hosts  *redis.Hosts

	mu     sync.Mutex
	liars  map[string]bool // addresses
	inUse  map[string]bool // addresses, of what was told last
	told   int
	refuse bool          // what is told
	busy   bool          // hosts are not ready
	proves faas.Language // what all hosts run; empty: what each says
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{server: testrig.Redis(t), liars: map[string]bool{}}
	client, err := redis.New(redis.Options{URL: r.server.URL(), Use: "test", Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	r.hosts = redis.NewHosts(client)
	return r
}

func (r *rig) follow(t *testing.T) {
	t.Helper()
	testrig.Serve(t, endpoints.New(endpoints.Options{
		Directory: r.hosts, Prove: r.prove, Changed: r.changed, Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewPedanticRegistry(),
	}).Serve)
}

func (r *rig) prove(_ context.Context, h faas.Host) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.liars[h.Address] {
		return errors.New("it has no certificate")
	}
	if r.proves != "" && h.Language != r.proves {
		return errors.New("it runs another language")
	}
	if r.busy {
		return endpoints.ErrNotReady
	}
	return nil
}

func (r *rig) changed(_ context.Context, hosts []faas.Host) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refuse {
		r.refuse = false
		return errors.New("not now")
	}
	r.told++
	r.inUse = map[string]bool{}
	for _, h := range hosts {
		r.inUse[h.Address] = true
	}
	return nil
}

func (r *rig) knows(address string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.inUse[address]
}

func (r *rig) times() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.told
}

func (r *rig) announce(t *testing.T, address string) (leave func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- endpoints.Announce(ctx, endpoints.AnnounceOptions{
			Directory: r.hosts, Host: host(address), Ready: func() bool { return true }, Drain: time.Second,
			Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewPedanticRegistry(),
		})
	}()
	leave = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(leave)
	return leave
}

func host(address string) faas.Host {
	return faas.Host{Name: "test/" + address, Language: faas.NodeJS, Address: address, Version: "test"}
}

const one, two = "10.0.0.1:80", "10.0.0.2:80"

// TestFollow: a host is in use soon after it said that it is there, no more when it said goodbye,
// and not before it has shown who it is.
func TestFollow(t *testing.T) {
	r := newRig(t)
	r.refuse = true // what could not be told is told again
	leave := r.announce(t, one)
	r.follow(t)
	testrig.Eventually(t, "the first host", func() bool { return r.knows(one) })
	if r.times() != 1 {
		t.Errorf("told %d times: an Envoy that knows hosts was told that there are none", r.times())
	}

	r.mu.Lock()
	r.liars[two] = true
	r.mu.Unlock()
	before := r.times()
	r.announce(t, two)
	patience := time.Now().Add(1500 * time.Millisecond)
	testrig.Eventually(t, "some time", func() bool { return time.Now().After(patience) })
	if r.knows(two) || r.times() != before {
		t.Error("a host that did not show who it is is in use")
	}
	r.mu.Lock()
	r.liars[two] = false
	r.mu.Unlock()
	testrig.Eventually(t, "the host that has a certificate by now", func() bool { return r.knows(two) })

	started := time.Now()
	leave()
	if r.knows(one) {
		t.Error("a host is in use that has said goodbye and gone")
	}
	if took := time.Since(started); took < time.Second {
		t.Errorf("it left after %v, before all could have heard of it", took)
	}
}

// TestUnheard: one that is not heard any more and answers nothing goes, without a goodbye.
func TestUnheard(t *testing.T) {
	r := newRig(t)
	if err := r.hosts.Announce(t.Context(), host(one), endpoints.Life); err != nil {
		t.Fatal(err)
	}
	r.follow(t)
	testrig.Eventually(t, "the host", func() bool { return r.knows(one) })
	r.lie(one)
	started := time.Now()
	testrig.Eventually(t, "it to go", func() bool { return !r.knows(one) })
	if took := time.Since(started); took > 2*endpoints.Life {
		t.Errorf("it took %v", took)
	}
}

// TestRedisAway: what is known stays while Redis is away and after it was started anew, and a
// follower that begins then tells nothing before Redis answers.
func TestRedisAway(t *testing.T) {
	r := newRig(t)
	r.announce(t, one)
	r.follow(t)
	testrig.Eventually(t, "the host", func() bool { return r.knows(one) })
	r.server.Kill(t)
	late := &rig{server: r.server, hosts: r.hosts, liars: map[string]bool{}}
	late.follow(t)
	away := time.Now().Add(2 * endpoints.Life)
	testrig.Eventually(t, "longer than a host lives unheard", func() bool { return time.Now().After(away) })
	if !r.knows(one) || late.times() != 0 {
		t.Errorf("the host is in use: %v; another follower has told %d times", r.knows(one), late.times())
	}
	before := r.times()
	r.server.Start(t) // it knows nothing
	testrig.Eventually(t, "the other follower to know the host", func() bool { return late.knows(one) })
	if r.times() != before || !r.knows(one) {
		t.Error("the host was gone for a moment")
	}
}
