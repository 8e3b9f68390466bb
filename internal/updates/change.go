package updates

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"
)

const (
	// Of so many changes one is followed until it is live.
	followEvery = 10
	// Of so many changes one brings a new upstream, and takes the one before away.
	upstreamEvery = 50
	followPause   = time.Millisecond
	liveTimeout   = 10 * time.Second
	alonePause    = 50 * time.Millisecond // in which Envoy does what it has left of the last
	// What load is while routes change.
	steadyCallers = 4
	steadyPause   = 5 * time.Millisecond
)

// changes is what came of a run of changes.
type changes struct {
	mu    sync.Mutex // guards what follows
	live  []float64  // how long changes took, in ms
	moved []float64  // and those that brought an upstream
	late  int        // were not live at all
}

func (c *changes) add(began time.Time, moved, late bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	took := float64(time.Since(began).Microseconds()) / 1000
	switch {
	case late:
		c.late++
	case moved:
		c.moved = append(c.moved, took)
	default:
		c.live = append(c.live, took)
	}
}

// change changes routes, one host after the other, while requests go to all of them.
func (r *rig) change(ctx context.Context, c Config) (Result, error) {
	loaded, unload := context.WithCancel(ctx)
	defer unload()
	var t traffic
	var seen changes
	var group, load sync.WaitGroup
	load.Go(func() { r.load(loaded, &t, steadyCallers, steadyPause) })
	alone := r.alone(ctx, &t, c)
	running, cancel := context.WithTimeout(ctx, c.Duration)
	defer cancel()
	tick := time.NewTicker(time.Second / time.Duration(c.Rate))
	defer tick.Stop()
	result := Result{Changes: len(alone), Alone: quantiles(alone)}
	began, first := time.Now(), memory{}
	for running.Err() == nil {
		select {
		case <-running.Done():
			continue
		case <-tick.C:
		}
		result.Changes++
		moved := result.Changes%upstreamEvery == 0
		r.apply(result.Changes, moved)
		if moved || result.Changes%followEvery == 1 {
			n, host, at := result.Changes, result.Changes%r.hosts, time.Now()
			group.Go(func() { seen.add(at, moved, !r.follow(ctx, &t, host, n)) })
		}
		if first == (memory{}) && time.Since(began) > c.Duration/5 {
			first = r.memory()
		}
	}
	result.PerSecond = float64(result.Changes-len(alone)) / time.Since(began).Seconds()
	group.Wait()
	unload()
	load.Wait()
	result.Start, result.End = first, r.memory()
	result.Requests, result.Failed = t.requests.Load(), t.failed.Load()
	if text := t.fault.Load(); text != nil {
		result.Fault = *text
	}
	result.Live, result.Moved, result.Late = quantiles(seen.live), quantiles(seen.moved), seen.late
	result.Lost = r.lost(ctx, result.Changes)
	return result, errors.Join(ctx.Err(), r.refused())
}

// alone makes changes of which each is live before the next, and tells how long each took, in
// ms.
func (r *rig) alone(ctx context.Context, t *traffic, c Config) (took []float64) {
	for n := 1; n <= c.Alone && ctx.Err() == nil; n++ {
		began := time.Now()
		r.apply(n, false)
		r.follow(ctx, t, n%r.hosts, n)
		took = append(took, float64(time.Since(began).Microseconds())/1000)
		wait(ctx, alonePause)
	}
	return took
}

// apply makes change n, which is of one host.
func (r *rig) apply(n int, moved bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	host, upstream := n%r.hosts, "first"
	routing := &r.state.Routing
	if moved {
		upstream = fmt.Sprint("upstream-", n)
		// What used the one before goes back to the first.
		for at, route := range routing.Routes {
			if len(routing.Upstreams) > 1 && route.Rules[0].BackendRefs[0].Name == routing.Upstreams[1].Name {
				routing.Routes = slices.Clone(routing.Routes)
				routing.Routes[at] = r.route(at, r.last(at, n), "first")
			}
		}
		routing.Upstreams = append(slices.Clone(routing.Upstreams[:1]), r.upstream(upstream))
	}
	routing.Routes = slices.Clone(routing.Routes)
	routing.Routes[host] = r.route(host, n, upstream)
	r.controller.Set(r.state)
}

// last is the last change of a host before change n; 0: there was none.
func (r *rig) last(host, n int) int {
	last := n - 1 - ((n-1-host)%r.hosts+r.hosts)%r.hosts
	return max(0, last)
}

// follow asks until a change is live.
func (r *rig) follow(ctx context.Context, t *traffic, host, change int) bool {
	ctx, cancel := context.WithTimeout(ctx, liveTimeout)
	defer cancel()
	for ctx.Err() == nil {
		got, err := r.ask(host, 0)
		t.count(err)
		if err == nil && got >= change {
			return true
		}
		wait(ctx, followPause)
	}
	return false
}

// lost is how many hosts are not as their last change has them.
func (r *rig) lost(ctx context.Context, changes int) (lost int) {
	var t traffic
	for host := range r.hosts {
		if !r.follow(ctx, &t, host, r.last(host, changes+1)) {
			lost++
		}
	}
	return lost
}

func (r *rig) refused() error {
	if status := r.controller.Status(); status.Nack != nil {
		return fmt.Errorf("refused: %s", status.Nack.Message)
	}
	return nil
}

// memory is what Envoy has resident, and control on its heap, in bytes.
type memory struct{ Envoy, Control int64 }

func (r *rig) memory() memory {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return memory{resident(r.envoy.PID()), int64(stats.HeapAlloc)}
}
