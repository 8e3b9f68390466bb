package host

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"envoke/internal/strict"
	"envoke/runtimes/bundle"
	"envoke/runtimes/fault"
	"envoke/runtimes/pool"
)

// parseLimits reads limits of a context's calls.
func (p *post) parseLimits(cpu, output, concurrency []byte) error {
	var ms int
	for _, limit := range []struct {
		name string
		raw  []byte
		into *int
	}{
		{"cpu_limit_ms", cpu, &ms},
		{"output_limit_bytes", output, &p.limits.Output},
		{"max_concurrency", concurrency, &p.limits.Concurrency},
	} {
		if !given(limit.raw) {
			continue
		}
		if json.Unmarshal(limit.raw, limit.into) != nil || *limit.into < 1 || *limit.into > math.MaxInt32 {
			return strict.BadMember("context."+limit.name, fmt.Sprintf("must be a whole number from 1 to %d", math.MaxInt32))
		}
	}
	p.limits.CPU = time.Duration(ms) * time.Millisecond
	return nil
}

// limited runs the function within the limits of its calls.
func (h *Host) limited(ctx context.Context, session *bundle.Session, inv pool.Invocation) (pool.Result, error) {
	limits, wanted := session.Limits, work(session)
	if h.MaxCPU > 0 && (wanted.CPU == 0 || wanted.CPU > h.MaxCPU) {
		wanted.CPU = h.MaxCPU
	}
	if h.Concurrency > 0 && (limits.Concurrency == 0 || limits.Concurrency > h.Concurrency) {
		limits.Concurrency = h.Concurrency // which no caller lifts
	}
	if limits.Concurrency == 0 {
		result, err := h.Engine.Invoke(ctx, wanted, inv)
		return result, within(limits.Output, result, err)
	}
	arrived := time.Now()
	leave, err := h.gates.enter(ctx, gateKey{digest: wanted.Script.Digest, owner: wanted.Owner}, limits.Concurrency, inv)
	waited := time.Since(arrived)
	if err != nil {
		return pool.Result{Queue: waited}, err
	}
	result, err := h.Engine.Invoke(ctx, wanted, inv)
	result.Queue += waited
	if result.Stream != nil {
		result.Stream.AfterClose = leave
	} else {
		leave()
	}
	return result, within(limits.Output, result, err)
}

// within refuses a result of more than limit bytes of JSON; 0: none. What a stream makes is
// counted as it comes.
func within(limit int, result pool.Result, err error) error {
	if err == nil && limit > 0 && len(result.JSON) > limit {
		return fault.OutputOf(limit, len(result.JSON))
	}
	return err
}
