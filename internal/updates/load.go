package updates

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

// changeHeader says in an answer by which change its route is.
const changeHeader = "x-change"

// ask sends one request to a host and tells by which change it was answered.
func (r *rig) ask(host, part int) (change int, err error) {
	request, response := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer func() { fasthttp.ReleaseRequest(request); fasthttp.ReleaseResponse(response) }()
	request.SetRequestURI("http://" + hostname(host) + "/part-" + strconv.Itoa(part) + "/x")
	if err := r.client.Do(request, response); err != nil {
		return 0, fmt.Errorf("ask %s: %w", hostname(host), err)
	}
	if status := response.StatusCode(); status != fasthttp.StatusOK {
		return 0, fmt.Errorf("ask %s: status %d", hostname(host), status)
	}
	return strconv.Atoi(string(response.Header.Peek(changeHeader)))
}

// traffic is what a load was.
type traffic struct {
	requests, failed atomic.Int64
	fault            atomic.Pointer[string] // of the last that failed
}

func (t *traffic) count(err error) {
	t.requests.Add(1)
	if err != nil {
		t.failed.Add(1)
		text := err.Error()
		t.fault.Store(&text)
	}
}

// load sends requests to all hosts and paths until ctx ends: by as many callers, each with a
// pause after each answer; 0: without.
func (r *rig) load(ctx context.Context, t *traffic, callers int, pause time.Duration) {
	var group sync.WaitGroup
	for caller := range callers {
		group.Go(func() {
			for n := caller; ctx.Err() == nil; n++ {
				// All hosts, far from one to the next; and all of their paths.
				_, err := r.ask(n*stride%r.hosts, (n+n/r.hosts)%perHost)
				t.count(err)
				if pause > 0 {
					wait(ctx, pause)
				}
			}
		})
	}
	group.Wait()
}

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

const (
	roundTime = time.Second
	stride    = 389
	// callers that are enough to keep Envoy's one worker busy, and no more.
	callersAtOnce = 4
)

// compare is the CPU time that each rig's Envoy needs for a request, in microseconds: the
// median of rounds that the rigs have by turns.
func compare(ctx context.Context, rigs []*rig, rounds int) ([]float64, error) {
	costs := make([][]float64, len(rigs))
	for round := range rounds + 1 {
		for n, r := range rigs {
			cost, err := r.cost(ctx)
			if err != nil {
				return nil, err
			}
			if round > 0 { // the first one warms up
				costs[n] = append(costs[n], cost)
			}
		}
	}
	medians := make([]float64, len(rigs))
	for n := range costs {
		medians[n] = quantile(costs[n], 0.5)
	}
	return medians, ctx.Err()
}

func (r *rig) cost(ctx context.Context) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, roundTime)
	defer cancel()
	var t traffic
	before, err := cpuOf(r.envoy.PID())
	if err != nil {
		return 0, err
	}
	r.load(ctx, &t, callersAtOnce, 0)
	after, err := cpuOf(r.envoy.PID())
	if err != nil {
		return 0, err
	}
	if failed := t.failed.Load(); failed > 0 {
		return 0, fmt.Errorf("%d requests failed: %s", failed, *t.fault.Load())
	}
	return float64((after - before).Microseconds()) / float64(t.requests.Load()), nil
}

// cpuOf is the CPU time of all threads of a process, which the kernel counts in nanoseconds.
func cpuOf(pid int) (sum time.Duration, err error) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(tasks) == 0 {
		return 0, fmt.Errorf("no threads of process %d: %w", pid, err)
	}
	for _, path := range tasks {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it ended
		}
		first, _, _ := strings.Cut(string(text), " ")
		ns, err := strconv.ParseInt(first, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read %s: %w", path, err)
		}
		sum += time.Duration(ns)
	}
	return sum, nil
}

// resident is how much memory a process has, in bytes; 0: it is gone.
func resident(pid int) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	fields := strings.Fields(string(text))
	if err != nil || len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize())
}

// quantile is that of values, 0 to 1; 0 where there are none.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}
