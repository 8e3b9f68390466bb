package host

import (
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"envoke/internal/faas"
	"envoke/runtimes/bundle"
	"envoke/runtimes/fault"
)

// maxRated is how many functions each have a count of their own. The one that was not called
// for longest loses it: where that is a minute ago, nothing is lost.
const maxRated = 10_000

// rates count the calls of functions that may have only so many a minute, of all callers and
// sessions together.
type rates struct {
	refused prometheus.Counter

	mu      sync.Mutex
	buckets *simplelru.LRU[rateKey, *rate.Limiter]
}

// rateKey names what shares a count: all versions of a function that have the same rate.
type rateKey struct {
	name      faas.Name
	owner     string
	perMinute int
}

func newRates(registerer prometheus.Registerer, language faas.Language) *rates {
	r := &rates{refused: prometheus.NewCounter(prometheus.CounterOpts{
		Name:        "envoke_host_over_rate_total",
		Help:        "Calls that were refused since their function has had its calls of the minute.",
		ConstLabels: prometheus.Labels{"language": string(language)},
	})}
	registerer.MustRegister(r.refused)
	r.buckets, _ = simplelru.NewLRU[rateKey, *rate.Limiter](maxRated, nil) // it fails for no size only
	return r
}

// take counts a call of the session's function. The error is RATE_LIMITED, and says when the
// next may come: calls that were refused do not put that off.
func (r *rates) take(session *bundle.Session, now time.Time) error {
	perMinute := session.Limits.Rate
	if perMinute == 0 {
		return nil
	}
	bucket := r.bucket(rateKey{session.Name, session.Owner, perMinute})
	if bucket.AllowN(now, 1) {
		return nil
	}
	r.refused.Inc()
	missing := max(0, 1-bucket.TokensAt(now))
	return fault.Rate(perMinute, time.Duration(missing/float64(bucket.Limit())*float64(time.Second)))
}

func (r *rates) bucket(key rateKey) *rate.Limiter {
	r.mu.Lock()
	defer r.mu.Unlock()
	bucket, ok := r.buckets.Get(key)
	if !ok {
		bucket = rate.NewLimiter(rate.Limit(float64(key.perMinute)/time.Minute.Seconds()), key.perMinute)
		r.buckets.Add(key, bucket)
	}
	return bucket
}
