// Package issuers knows who issues tokens, and keeps their keys: it reads or fetches each
// key set again and again, so that a key that an issuer begins to sign with is known, and
// one that it withdraws is not taken any more. Envoy gets the keys with its configuration
// and fetches nothing itself.
package issuers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	fetchTimeout = 5 * time.Second
	maxDocument  = 1 << 20
	// minute is how long a key set is believed. Issuers publish a key for longer than that
	// before they sign with it.
	minute = time.Minute
	soon   = 5 * time.Second // after one that could not be had
	often  = 2 * time.Second // of a file
)

// noKeys is a set that no signature fits.
var noKeys = document(nil)

// Options make a Source. Interval may be 0.
type Options struct {
	Issuers    []Issuer
	Changed    func(context.Context) // after a key set has changed, but not before Serve
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	Interval   time.Duration // how long a fetched key set is believed; 0: a minute
}

// Source keeps the key sets of issuers.
type Source struct {
	Options
	client   *http.Client
	failures *prometheus.CounterVec
	fetched  *prometheus.GaugeVec

	mu   sync.Mutex // guards keys
	keys []string   // of each issuer
}

// New makes a Source that has no keys yet.
func New(o Options) *Source {
	if o.Interval == 0 {
		o.Interval = minute
	}
	s := &Source{
		Options: o, keys: make([]string, len(o.Issuers)),
		client: &http.Client{Timeout: fetchTimeout, CheckRedirect: safeRedirect},
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "envoke_issuers_fetch_failures_total", Help: "Key sets of token issuers that could not be had.",
		}, []string{"issuer"}),
		fetched: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "envoke_issuers_fetched_timestamp_seconds", Help: "When the key set of a token issuer was had last, in Unix seconds.",
		}, []string{"issuer"}),
	}
	for n := range s.keys {
		s.keys[n] = noKeys
	}
	if o.Registerer != nil {
		o.Registerer.MustRegister(s.failures, s.fetched)
	}
	return s
}

// safeRedirect follows to where keys may come from.
func safeRedirect(r *http.Request, via []*http.Request) error {
	if len(via) > 3 {
		return errors.New("too many redirects")
	}
	return checkURL(r.URL.String())
}

// Open gets all key sets once. One that cannot be had is empty until Serve gets it: its
// issuer's tokens are refused until then.
func (s *Source) Open(ctx context.Context) {
	var all sync.WaitGroup
	for n := range s.Issuers {
		all.Go(func() { s.renew(ctx, n, false) })
	}
	all.Wait()
}

// Keys is the key set of each issuer, in their order.
func (s *Source) Keys() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.keys...)
}

// Serve keeps the key sets until the context ends.
func (s *Source) Serve(ctx context.Context) error {
	var all sync.WaitGroup
	for n := range s.Issuers {
		all.Go(func() { s.keep(ctx, n) })
	}
	<-ctx.Done() // there may be no issuer at all
	all.Wait()
	s.client.CloseIdleConnections()
	return nil
}

func (s *Source) keep(ctx context.Context, n int) {
	failed := s.Keys()[n] == noKeys
	for {
		wait := s.Interval
		switch {
		case s.Issuers[n].JWKSFile != "":
			wait = min(often, s.Interval)
		case failed:
			wait = min(soon, s.Interval)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		failed = !s.renew(ctx, n, failed)
	}
}

// renew gets the key set of one issuer, and tells whether it could. What is had already
// stays where nothing better comes. The first of several failures is logged.
func (s *Source) renew(ctx context.Context, n int, failedBefore bool) bool {
	issuer := s.Issuers[n]
	keys, err := s.get(ctx, issuer)
	if err != nil {
		if ctx.Err() == nil {
			s.failures.WithLabelValues(issuer.Issuer).Inc()
		}
		if !failedBefore {
			s.Logger.WarnContext(ctx, "the key set of a token issuer could not be had; known keys stay", "issuer", issuer.Issuer, "error", err)
		}
		return false
	}
	s.fetched.WithLabelValues(issuer.Issuer).SetToCurrentTime()
	if keys == noKeys {
		s.Logger.DebugContext(ctx, "a token issuer has no key that checks signatures: its tokens are refused", "issuer", issuer.Issuer)
	}
	s.mu.Lock()
	changed := s.keys[n] != keys
	s.keys[n] = keys
	s.mu.Unlock()
	if changed {
		s.Logger.InfoContext(ctx, "new keys of a token issuer", "issuer", issuer.Issuer)
		if s.Changed != nil {
			s.Changed(ctx)
		}
	}
	return true
}

func (s *Source) get(ctx context.Context, i Issuer) (string, error) {
	raw, err := s.read(ctx, i)
	if err != nil {
		return "", err
	}
	keys, err := parseKeys(raw)
	if err != nil {
		return "", err
	}
	return document(keys), nil
}

func (s *Source) read(ctx context.Context, i Issuer) ([]byte, error) {
	if i.JWKSFile != "" {
		return os.ReadFile(i.JWKSFile)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, i.JWKSURL, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/json")
	response, err := s.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }() // it was read
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s", i.JWKSURL, response.Status)
	}
	raw, err := io.ReadAll(io.LimitReader(response.Body, maxDocument+1))
	if len(raw) > maxDocument {
		return nil, fmt.Errorf("%s is larger than %d bytes", i.JWKSURL, maxDocument)
	}
	return raw, err
}
