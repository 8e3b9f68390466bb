package keys

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"envoke/internal/faas"
)

// ThrottleOptions make a Throttle. Registerer is required; zero means the defaults.
type ThrottleOptions struct {
	Failures   int           // that an address may have in a period; 20
	Period     time.Duration // from the first of them on; 1 min
	Addresses  int           // of which failures are counted; 10,000
	Now        func() time.Time
	Registerer prometheus.Registerer
}

// Throttle refuses addresses that have failed too often, for the rest of a period. Where more
// addresses fail than are counted, those are forgotten that failed or asked longest ago.
type Throttle struct {
	failures int
	period   time.Duration
	now      func() time.Time
	blocks   prometheus.Counter
	evicted  prometheus.Counter

	mu    sync.Mutex
	fails *simplelru.LRU[string, *fails]
}

// fails are those of one address in a period.
type fails struct {
	count int
	ends  time.Time
}

// maxAddress bounds what is no IP address, in bytes.
const maxAddress = 64

// NewThrottle makes a Throttle.
func NewThrottle(o ThrottleOptions) *Throttle {
	if o.Now == nil {
		o.Now = time.Now
	}
	with := promauto.With(o.Registerer)
	t := &Throttle{
		failures: cmp.Or(o.Failures, 20), period: cmp.Or(o.Period, time.Minute), now: o.Now,
		blocks: with.NewCounter(prometheus.CounterOpts{
			Name: "envoke_keys_addresses_blocked_total", Help: "Client addresses that sent too many keys that are none, once for each period.",
		}),
		evicted: with.NewCounter(prometheus.CounterOpts{
			Name: "envoke_keys_addresses_forgotten_total", Help: "Client addresses whose failures were forgotten before their time, since too many others failed.",
		}),
	}
	t.fails, _ = simplelru.NewLRU[string, *fails](max(cmp.Or(o.Addresses, 10_000), 1), nil) // fails for counts below 1 only
	return t
}

// Failed notes that a client at an address has failed.
func (t *Throttle) Failed(address string) {
	address = subscriber(address)
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	f, ok := t.fails.Get(address)
	if !ok || !now.Before(f.ends) {
		f = &fails{ends: now.Add(t.period)}
		if t.fails.Add(address, f) {
			t.evicted.Inc()
		}
	}
	if f.count++; f.count == t.failures {
		t.blocks.Inc()
	}
}

// Blocked is a RATE_LIMITED *faas.Error for an address that has failed too often, else nil.
func (t *Throttle) Blocked(address string) error {
	address = subscriber(address)
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	f, ok := t.fails.Get(address)
	if !ok || f.count < t.failures || !now.Before(f.ends) {
		return nil
	}
	wait := int(math.Ceil(f.ends.Sub(now).Seconds()))
	return &faas.Error{
		Code:    faas.RateLimited,
		Message: fmt.Sprintf("too many API keys that are none came from your address: try again in %d s", wait),
		Details: map[string]any{"retry_after_seconds": wait},
	}
}

// subscriber is what one client has: an address of IPv4, or the /64 of one of IPv6, in which
// it can choose as it likes.
func subscriber(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return address[:min(len(address), maxAddress)]
	}
	if ip = ip.Unmap().WithZone(""); ip.Is4() {
		return ip.String()
	}
	network, _ := ip.Prefix(64) // fails for more bits than there are
	return network.String()
}
