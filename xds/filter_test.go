package xds

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"envoke/internal/envoytest"
	"envoke/internal/faas"
	"envoke/internal/testrig"
)

var swaps = flag.Int("swaps", 4, "how often TestFilterSwap replaces the filter")

const (
	filterDir = "../filter"
	probeDir  = "testdata/probe"
)

// load publishes the module and waits until requests meet it.
func (s *stack) load(module []byte) {
	s.t.Helper()
	s.state.Filter = module
	s.publish(s.state)
}

// refuses tells whether a malformed name is refused before ext_proc sees it.
func (s *stack) refuses() bool {
	return s.do("POST", initializePath, "{}", "Language-Title", "nodejs-a..b").Status == 400
}

// probed tells whether requests pass the probe.
func (s *stack) probed() bool {
	return s.do("POST", initializePath, "{}", "Language-Title", "nodejs-a").Header.Get("X-Probe") != ""
}

// TestFilter sends names through the real filter in a real Envoy. What ext_proc and
// the upstreams of this stack get, they answer with 200.
func TestFilter(t *testing.T) {
	s := newStack(t, nil)
	if s.refuses() {
		t.Fatal("without a filter somebody refuses names; this test shows nothing")
	}
	s.load(envoytest.Wasm(t, filterDir))
	testrig.Eventually(t, "the filter", s.refuses)
	execute := executePath + "/" + string(faas.NewSessionKey().NewID(faas.NodeJS, true))
	for _, tt := range []struct {
		name, method, path string
		titles             []string
		status             int
	}{
		{"initialize", "POST", initializePath, []string{"nodejs-hello"}, 200},
		{"initialize, bad name", "POST", initializePath, []string{"nodejs-a..b"}, 400},
		{"initialize, no name", "POST", initializePath, nil, 400},
		{"initialize, two names, which ext_proc refuses", "POST", initializePath, []string{"nodejs-a", "a..b"}, 200},
		{"initialize, another method", "GET", initializePath, nil, 405},
		{"one-shot", "POST", executePath + "?a=b", []string{"python-hello"}, 200},
		{"one-shot, bad name", "POST", executePath, []string{"perl-hello"}, 400},
		{"function", "GET", functionsPath + "/nodejs-hello", nil, 200},
		{"function, bad name", "GET", functionsPath + "/hello", nil, 400},
		{"function, bad name, HEAD", "HEAD", functionsPath + "/hello", nil, 400},
		{"functions", "GET", functionsPath, nil, 200},
		{"execute is none of its business", "POST", execute, []string{"bad name"}, 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var headers []string
			for _, title := range tt.titles {
				headers = append(headers, "Language-Title", title)
			}
			// The body is larger than what is buffered: who refuses does not wait for it.
			reply := s.do(tt.method, tt.path, strings.Repeat("x", 2*bufferLimit), headers...)
			switch {
			case reply.Status != tt.status:
				t.Errorf("status %d, want %d: %.200s", reply.Status, tt.status, reply.Body)
			case tt.status == 400 && tt.method != "HEAD":
				wantError(t, reply, 400, faas.InvalidRequest, faas.InEnvoy)
			}
		})
	}
	t.Run("a caller's own id", func(t *testing.T) {
		reply := s.do("POST", initializePath, "{}", "X-Request-ID", `an "odd" id`)
		wantError(t, reply, 400, faas.InvalidRequest, faas.InEnvoy)
		if id := errorOf(t, reply).RequestID; id != `an "odd" id` {
			t.Errorf("request_id %q", id)
		}
	})
	t.Run("control restarted", func(t *testing.T) {
		s.replaceADS(New(Options{}), s.state)
		s.synced()
		if !s.refuses() {
			t.Error("the filter went with the control that brought it")
		}
	})
	t.Run("turned off", func(t *testing.T) {
		s.load(nil)
		testrig.Eventually(t, "requests to pass by", func() bool { return !s.refuses() })
	})
}

// TestFilterDoesNotLoad gives Envoy garbage, then what works, then garbage again.
func TestFilterDoesNotLoad(t *testing.T) {
	s := newStack(t, nil)
	s.synced()
	bare := s.controller.Status().Version
	refusals := func(n int) {
		t.Helper()
		testrig.Eventually(t, "a refusal that is taken back", func() bool {
			return int(counter(t, s.controller.metrics.nacks.WithLabelValues("filter"))) == n
		})
		s.synced()
	}
	s.load([]byte("no module"))
	refusals(1)
	if status := s.controller.Status(); status.Nack == nil || status.Nack.Type != "filter" || status.Version != bare {
		t.Errorf("status %+v, the version before was %s", status, bare)
	}
	if reply := s.do("POST", initializePath, "{}", "Language-Title", "nodejs-a..b"); reply.Status != 200 {
		t.Errorf("a request does not pass by: %d %s", reply.Status, reply.Body)
	}
	module := envoytest.Wasm(t, filterDir)
	began := time.Now()
	s.load(module)
	testrig.Eventually(t, "the filter", s.refuses)
	t.Logf("the filter answers %v after it was published", time.Since(began)) // nearly all is Envoy compiling it
	s.synced()
	s.load(module[:len(module)/2])
	refusals(2)
	if got := s.controller.Status().Filter; got != digest(module) || !s.refuses() {
		t.Errorf("the filter that worked is gone; published is %q", got)
	}
}

// TestFilterTraps has a filter trap in each way: the request is told so, the next ones
// pass by the filter, and another generation brings it back.
func TestFilterTraps(t *testing.T) {
	s := newStack(t, nil)
	s.load(envoytest.Wasm(t, probeDir))
	for _, how := range []string{"trap", "trap later", "trap by stack", "trap by memory"} {
		t.Run(how, func(t *testing.T) {
			testrig.Eventually(t, "the probe", s.probed)
			reply := s.do("POST", initializePath, "{}", "Language-Title", "nodejs-a", "x-do", how)
			wantError(t, reply, 503, faas.Unavailable, faas.InEnvoy)
			for n := range 10 {
				reply := s.do("POST", initializePath, "{}", "Language-Title", "nodejs-a", "x-do", how)
				if reply.Status != 200 || reply.Header.Get("X-Probe") != "" {
					t.Fatalf("request %d after the trap: %d %s", n, reply.Status, reply.Body)
				}
			}
			s.state.FilterGeneration++
			s.publish(s.state)
			testrig.Eventually(t, "the probe's next VM", s.probed)
		})
	}
}

// TestFilterSwap replaces the filter by another build again and again under load: no
// request is lost. A swap takes Envoy seconds: it compiles the module.
func TestFilterSwap(t *testing.T) {
	s := newStack(t, nil)
	builds := []struct {
		module []byte
		serves func() bool
	}{
		{envoytest.Wasm(t, probeDir), s.probed},
		{envoytest.Wasm(t, filterDir), s.refuses},
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var load errgroup.Group
	var requests, probed int
	load.Go(func() error {
		pace := time.NewTicker(time.Millisecond)
		defer pace.Stop()
		for ; ctx.Err() == nil; requests++ {
			<-pace.C
			reply, err := s.send("POST", initializePath, "{}", "Language-Title", "nodejs-a")
			if err != nil || reply.Status != http.StatusOK {
				return fmt.Errorf("request %d: %w, %d %s", requests, err, reply.Status, reply.Body)
			}
			if reply.Header.Get("X-Probe") != "" {
				probed++
			}
		}
		return nil
	})
	for n := range *swaps {
		build := builds[n%len(builds)]
		s.load(build.module)
		testrig.Eventually(t, fmt.Sprintf("swap %d", n), build.serves)
	}
	stop()
	if err := load.Wait(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d requests, %d of them through the probe", requests, probed)
	if probed == 0 || probed == requests {
		t.Errorf("%d requests of %d passed the probe: the load met one build only", probed, requests)
	}
}
