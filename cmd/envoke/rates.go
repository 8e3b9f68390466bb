package main

import (
	"errors"
	"time"

	ratelimitv3 "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"github.com/spf13/pflag"

	"envoke/internal/budget"
	"envoke/internal/faas"
	"envoke/internal/redis"
	"envoke/xds"
)

func (d *Door) bindShared(f *pflag.FlagSet) {
	f.BoolVar(&d.RateShared, "rate-shared", false, "with --auth: have all Envoys count these requests together, in --redis-url; while it does not answer, each counts by itself")
	f.IntVar(&d.RateSharedWaitMS, "rate-shared-wait-ms", 20, "with --rate-shared: how long a request waits for that count before its Envoy's own is enough")
}

// checkRates refuses a budget that nobody could keep.
func (c *Config) checkRates() []error {
	faults := checkNumbers([]number{{"RATE_SHARED_WAIT_MS", c.RateSharedWaitMS, 1, 1000}})
	if c.RateShared && !c.Auth {
		faults = append(faults, errors.New("RATE_SHARED is set, but AUTH is not: nobody would be counted"))
	}
	if c.RateShared && c.RedisURL == "" {
		faults = append(faults, errors.New("RATE_SHARED is set and REDIS_URL is not: what all Envoys let through is counted in Redis"))
	}
	return faults
}

func (d *Door) rates() xds.Rates {
	return xds.Rates{Executes: d.RateExecute, Anonymous: d.RateAnonymous, Functions: d.RateFunctions, Namespace: d.RateNamespace}
}

// sharedWait is how long requests wait for the budget that Envoys share; 0: there is none.
func (d *Door) sharedWait() time.Duration {
	if !d.RateShared {
		return 0
	}
	return time.Duration(d.RateSharedWaitMS) * time.Millisecond
}

// openRates has connections of its own: its questions are given up much sooner than those for
// sessions, which must not be left unasked for that.
func openRates(e *environment) (*redis.Client, error) {
	if !e.config.RateShared {
		return nil, nil
	}
	return redis.New(redis.Options{
		URL: e.config.RedisURL, Use: "rates", Instead: "each Envoy counts by itself",
		// One slow answer must not let hundreds of requests through uncounted. Those that were
		// asked beside it are over by then.
		Respite: e.config.sharedWait(), Answer: e.config.sharedWait(),
		Logger: e.logger, Registerer: e.metrics,
	})
}

// serveBudget answers Envoys whether the budget that they share lets a request through.
func (c *control) serveBudget(e *environment, key faas.SessionKey) {
	if c.redis.rates == nil {
		return
	}
	rates := e.config.rates()
	ratelimitv3.RegisterRateLimitServiceServer(c.grpc, budget.New(budget.Options{
		Rate: rates.Limit, ClassKey: xds.ClassKey, Domain: xds.BudgetDomain,
		Take: redis.NewRates(c.redis.rates, key).Take,
		// Before Envoy gives the question up, so that control knows of it.
		Timeout: e.config.sharedWait() * 3 / 4, Registerer: e.metrics,
	}))
}
