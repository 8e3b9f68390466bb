package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"envoke/internal/envoytest"
	"envoke/internal/testrig"
	"envoke/xds"
)

// keeping runs a keeper of a module on a clock of its own. The generations that it
// publishes after the first come out of the channel.
func keeping(t *testing.T, module []byte, test func(k *filterKeeper, renewed <-chan int)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		renewed := make(chan int, 100)
		k := newFilterKeeper(slog.New(slog.DiscardHandler), func(_ context.Context, _ []byte, generation int) error {
			if generation > 0 {
				renewed <- generation
			}
			return errors.New("not even that")
		})
		if err := k.set(t.Context(), module); err == nil {
			t.Error("that the filter is not published is lost")
		}
		ctx, stop := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- k.Serve(ctx) }()
		test(k, renewed)
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

// A filter that fails each time as soon as it is there is published anew less and less
// often, and one that had been quiet at once.
func TestFilterKeeperBacksOff(t *testing.T) {
	keeping(t, []byte("module"), func(k *filterKeeper, renewed <-chan int) {
		var pauses []time.Duration
		failAfter := func(d time.Duration) {
			pass(d)
			began := time.Now()
			k.failed(began)
			<-renewed
			pauses = append(pauses, time.Since(began))
		}
		for range 12 {
			failAfter(time.Second)
		}
		failAfter(quiet - time.Nanosecond)
		failAfter(quiet)
		const ms = time.Millisecond
		want := []time.Duration{
			100 * ms, 200 * ms, 400 * ms, 800 * ms, 1600 * ms, 3200 * ms, 6400 * ms, 12800 * ms, 25600 * ms, 51200 * ms,
			time.Minute, time.Minute, time.Minute, 100 * ms,
		}
		if diff := cmp.Diff(want, pauses); diff != "" {
			t.Errorf("pauses (-want +got):\n%s", diff)
		}
	})
}

// Many failures, and those of the generation before, are one.
func TestFilterKeeperRenewsOnce(t *testing.T) {
	keeping(t, []byte("module"), func(k *filterKeeper, renewed <-chan int) {
		began := time.Now()
		for range 100 {
			k.failed(began)
			pass(10 * time.Millisecond)
		}
		k.failed(began)
		pass(quiet / 2)
		if got := len(renewed); got != 1 {
			t.Errorf("published %d times", got)
		}
		k.failed(time.Now())
		k.failed(began) // known after the other, and yet no reason to forget it
		pass(quiet / 2)
		if got := len(renewed); got != 2 {
			t.Errorf("published %d times, want the second failure's too", got)
		}
	})
}

func TestFilterKeeperWithoutFilter(t *testing.T) {
	keeping(t, nil, func(k *filterKeeper, renewed <-chan int) {
		k.failed(time.Now())
		pass(time.Hour)
		if len(renewed) > 0 {
			t.Error("there is nothing to publish, and it was")
		}
	})
}

// pass lets time go by on a bubble's clock.
func pass(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // it takes no time
	synctest.Wait()
}

// TestFilterTraps gives Envoy a filter that traps at each request: they are answered all
// the same, but for one in each generation, and generations become rare. Once there is
// no reason to trap, the filter is back.
func TestFilterTraps(t *testing.T) {
	c, e, url := startControlAndEnvoy(t, envoytest.Wasm(t, "../../xds/testdata/probe"))
	ask := func(what string) (reply, bool) {
		r, err := send(http.MethodGet, url+"/api/v1/functions/nodejs-calculator", "", "x-do", what)
		if err != nil {
			t.Fatal(err)
		}
		return r, r.header.Get("X-Probe") != ""
	}
	probed := func() bool { _, probed := ask("nothing"); return probed }
	testrig.Eventually(t, "the probe", probed)
	began := time.Now()
	if r, _ := ask("trap"); r.status != http.StatusServiceUnavailable {
		t.Errorf("the request that traps: %d %s", r.status, r.body)
	}
	testrig.Eventually(t, "the filter again", probed)
	t.Logf("the filter is back %v after its trap", time.Since(began))
	lost := 1
	testrig.Eventually(t, "four generations", func() bool {
		switch r, probed := ask("trap"); {
		case r.status == http.StatusServiceUnavailable:
			lost++
		case r.status != http.StatusOK || probed:
			t.Fatalf("a request of a filter that traps: %d %s", r.status, r.body)
		}
		return c.generation() == 4
	})
	if took, pauses := time.Since(began), 15*firstPause; took < pauses {
		t.Errorf("four generations in %v, and the pauses alone are %v", took, pauses)
	}
	if lost == 0 || lost > 5 {
		t.Errorf("%d requests were lost in five generations", lost)
	}
	testrig.Eventually(t, "the filter again", probed)
	testrig.Eventually(t, "each failure counted", func() bool { return e.metric(t, "envoke_filter_failures_total") == lost })
}

func (c *control) generation() int {
	c.filter.mu.Lock()
	defer c.filter.mu.Unlock()
	return c.filter.generation
}

// metric is the value of a counter without labels.
func (e *environment) metric(t *testing.T, name string) int {
	t.Helper()
	families, err := e.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == name {
			return int(family.GetMetric()[0].GetCounter().GetValue())
		}
	}
	return -1
}

// startControlAndEnvoy runs these two with a filter, and no runtime host, until the test
// ends. It returns the URL of Envoy, which has one thread.
func startControlAndEnvoy(t *testing.T, filter []byte) (*control, *environment, string) {
	t.Helper()
	i, err := newInstallation()
	if err != nil {
		t.Fatal(err)
	}
	given := newSettings(nil)
	if err := given.all.Parse(append(i.settings(), "--envoy-concurrency", "1")); err != nil {
		t.Fatal(err)
	}
	e, remove, err := newEnvironment(streams{getenv: os.Getenv, stdout: &i.stdout, stderr: &i.stderr}, given)
	if err != nil {
		t.Fatal(err)
	}
	l := newLifecycle(e.logger)
	t.Cleanup(func() {
		if err := l.stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("the log:\n%s", tail(i.stderr.String(), 16<<10))
		}
		remove()
		_ = os.RemoveAll(filepath.Dir(i.dataDir))
	})
	if err := e.findEnvoy(t.Context(), io.Discard); err != nil {
		t.Fatal(err)
	}
	c, err := openControl(t.Context(), e, filter)
	if err != nil {
		t.Fatal(err)
	}
	c.start(l)
	e.startEnvoy(l)
	if err := e.envoy.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	address, err := e.envoy.ListenerAddr(t.Context(), xds.ListenerName)
	if err != nil {
		t.Fatal(err)
	}
	return c, e, "http://" + address
}
