// Package budget is the rate limit service that Envoys ask before they let a request through:
// it counts requests for all of them together. What it cannot count it does not refuse, since
// each Envoy counts too.
package budget

import (
	"context"
	"math"
	"strconv"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	commonv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	ratelimitv3 "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Taken is what has become of one request of a rate.
type Taken struct {
	Allowed   bool
	Remaining int           // requests that might come at this moment
	Retry     time.Duration // until the next is allowed, where this one is not
	Reset     time.Duration // until all of the rate is there again
}

// Options make a Server. All fields are required.
type Options struct {
	// Rate is how many requests a minute a class has, of one that it counts by, which is one of
	// the keys of a descriptor; 0: any number.
	Rate func(class string, by func(key string) bool) int
	// ClassKey is the key of a descriptor's class, and Domain what Envoys ask for.
	ClassKey, Domain string
	// Take counts one request of whoever has the name. The error says that it cannot count.
	Take func(ctx context.Context, name string, perMinute int) (Taken, error)
	// Timeout bounds a question: with it over, Envoy has gone on without the answer.
	Timeout    time.Duration
	Registerer prometheus.Registerer
}

// Server implements Envoy's RateLimitService.
type Server struct {
	ratelimitv3.UnimplementedRateLimitServiceServer
	Options
	allowed, refused, failed prometheus.Counter
	duration                 prometheus.Histogram
}

// New makes a Server.
func New(o Options) *Server {
	asked := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "envoke_budget_requests_total",
		Help: "Requests that Envoys asked the shared budget about, by outcome: allowed, refused, or failed, which Envoys let through.",
	}, []string{"outcome"})
	duration := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "envoke_budget_duration_seconds", Help: "From Envoy's question to the answer.",
		Buckets: prometheus.ExponentialBuckets(100e-6, 2, 10), // 0.1 to 51 ms
	})
	o.Registerer.MustRegister(asked, duration)
	return &Server{
		Options: o, duration: duration,
		allowed: asked.WithLabelValues("allowed"), refused: asked.WithLabelValues("refused"), failed: asked.WithLabelValues("failed"),
	}
}

// ShouldRateLimit counts one request. An error has Envoy let it through.
func (s *Server) ShouldRateLimit(ctx context.Context, r *ratelimitv3.RateLimitRequest) (*ratelimitv3.RateLimitResponse, error) {
	began := time.Now()
	defer func() { s.duration.Observe(time.Since(began).Seconds()) }()
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	reply, err := s.count(ctx, r)
	switch {
	case err != nil:
		s.failed.Inc()
		return nil, err
	case reply.GetOverallCode() == ratelimitv3.RateLimitResponse_OVER_LIMIT:
		s.refused.Inc()
	default:
		s.allowed.Inc()
	}
	return reply, nil
}

// maxDescriptors bounds those of one request: it has one of its user or address, and one of its
// namespace.
const maxDescriptors = 8

func (s *Server) count(ctx context.Context, r *ratelimitv3.RateLimitRequest) (*ratelimitv3.RateLimitResponse, error) {
	if r.GetDomain() != s.Domain || len(r.GetDescriptors()) > maxDescriptors {
		return nil, status.Error(codes.InvalidArgument, "this is no question of an Envoy of Envoke")
	}
	reply := &ratelimitv3.RateLimitResponse{OverallCode: ratelimitv3.RateLimitResponse_OK}
	least := 0 // requests left, of what was counted
	for _, descriptor := range r.GetDescriptors() {
		code, rate := ratelimitv3.RateLimitResponse_OK, s.rateOf(descriptor)
		refused := reply.GetOverallCode() == ratelimitv3.RateLimitResponse_OVER_LIMIT // what was refused takes nothing else
		if rate > 0 && !refused {                                                     // 0: this control has other rates than the one that Envoy heard
			taken, err := s.Take(ctx, nameOf(descriptor), rate)
			if err != nil {
				return nil, status.Error(codes.Unavailable, "the budget cannot be counted")
			}
			if !taken.Allowed {
				code, reply.OverallCode = ratelimitv3.RateLimitResponse_OVER_LIMIT, ratelimitv3.RateLimitResponse_OVER_LIMIT
			}
			if reply.ResponseHeadersToAdd == nil || !taken.Allowed || taken.Remaining < least {
				least, reply.ResponseHeadersToAdd = taken.Remaining, headersOf(rate, taken)
			}
		}
		reply.Statuses = append(reply.Statuses, &ratelimitv3.RateLimitResponse_DescriptorStatus{Code: code})
	}
	return reply, nil
}

// headersOf are those that Envoy's own filter of rates has.
func headersOf(rate int, t Taken) []*corev3.HeaderValue {
	header := func(name string, value int) *corev3.HeaderValue {
		return &corev3.HeaderValue{Key: name, Value: strconv.Itoa(value)}
	}
	headers := []*corev3.HeaderValue{
		header("x-ratelimit-limit", rate), header("x-ratelimit-remaining", t.Remaining), header("x-ratelimit-reset", seconds(t.Reset)),
	}
	if !t.Allowed {
		headers = append(headers, header("retry-after", seconds(t.Retry)))
	}
	return headers
}

func (s *Server) rateOf(d *commonv3.RateLimitDescriptor) int {
	has := func(key string) bool {
		for _, e := range d.GetEntries() {
			if e.GetKey() == key {
				return true
			}
		}
		return false
	}
	for _, e := range d.GetEntries() {
		if e.GetKey() == s.ClassKey {
			return s.Rate(e.GetValue(), has)
		}
	}
	return 0
}

// nameOf names whom a descriptor counts, so that no two are alike: each text has its length.
func nameOf(d *commonv3.RateLimitDescriptor) string {
	var b strings.Builder
	for _, e := range d.GetEntries() {
		for _, text := range []string{e.GetKey(), e.GetValue()} {
			b.WriteString(strconv.Itoa(len(text)) + ":" + text)
		}
	}
	return b.String()
}

// seconds are whole ones, so many that the time is over then.
func seconds(d time.Duration) int { return max(1, int(math.Ceil(d.Seconds()))) }
