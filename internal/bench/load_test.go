package bench

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// adder answers as the measured servers do.
func adder(w http.ResponseWriter, r *http.Request) {
	var question struct {
		Params struct{ A, B int64 } `json:"params"`
	}
	if err := json.NewDecoder(r.Body).Decode(&question); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	_ = json.NewEncoder(noNewline{w}).Encode(map[string]int64{"result": question.Params.A + question.Params.B})
}

// noNewline drops the newline that an Encoder writes last.
type noNewline struct{ io.Writer }

func (n noNewline) Write(p []byte) (int, error) {
	_, err := n.Writer.Write(p[:len(p)-1])
	return len(p), err
}

// serve runs a handler on a Unix socket until the test ends.
func serve(t *testing.T, handler http.HandlerFunc) Endpoint {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	listener, err := new(net.ListenConfig).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler}
	var group sync.WaitGroup
	group.Go(func() { _ = server.Serve(listener) })
	t.Cleanup(func() {
		_ = server.Close()
		group.Wait()
	})
	return Endpoint{Network: "unix", Address: socket, Path: "/"}
}

func TestClosedLoopCountsEachRequest(t *testing.T) {
	var served atomic.Int64
	endpoint := serve(t, func(w http.ResponseWriter, r *http.Request) {
		served.Add(1)
		adder(w, r)
	})
	const connections = 4
	o, err := measure(t.Context(), endpoint, Load{Connections: connections, Duration: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if want := int(served.Load()) - connections; len(o.sorted) != want || want == 0 {
		t.Errorf("%d requests measured, %d sent after the first of each connection", len(o.sorted), want)
	}
	if o.elapsed < 50*time.Millisecond {
		t.Errorf("it took %v only", o.elapsed)
	}
}

func TestOpenLoopKeepsItsRate(t *testing.T) {
	o, err := measure(t.Context(), serve(t, adder), Load{Connections: 4, Rate: 500, Duration: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if len(o.sorted) != 50 {
		t.Errorf("%d requests, want 50", len(o.sorted))
	}
}

// One stall of the server delays all that was due meanwhile. A generator that
// counts from the time of sending would see as many slow requests as it has
// connections (coordinated omission).
func TestOpenLoopCountsFromTheIntendedTime(t *testing.T) {
	const (
		rate        = 500
		stall       = 200 * time.Millisecond
		connections = 2
	)
	var stalled sync.RWMutex
	var requests atomic.Int64
	endpoint := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if requests.Add(1) == connections+10 {
			stalled.Lock()
			time.AfterFunc(stall, stalled.Unlock)
		}
		stalled.RLock()
		defer stalled.RUnlock()
		adder(w, r)
	})
	o, err := measure(t.Context(), endpoint, Load{Connections: connections, Rate: rate, Duration: 2 * stall})
	if err != nil {
		t.Fatal(err)
	}
	slow := 0
	for _, latency := range o.sorted {
		if latency > stall/2 {
			slow++
		}
	}
	if want := int(rate * stall.Seconds() / 2); slow < want {
		t.Errorf("%d requests took more than half of the stall; at least %d were due in its first half", slow, want)
	}
}

func TestWrongRepliesFailAMeasurement(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"wrong status": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusServiceUnavailable)
			adder(w, r)
		},
		"wrong body":   func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"result":3}`) },
		"no reply":     func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"endless body": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 2*maxReply)) },
	} {
		for _, load := range []Load{{Connections: 2, Duration: 200 * time.Millisecond}, {Connections: 2, Rate: 100, Duration: 200 * time.Millisecond}} {
			t.Run(name, func(t *testing.T) {
				var requests atomic.Int64
				endpoint := serve(t, func(w http.ResponseWriter, r *http.Request) {
					if requests.Add(1) == 5 {
						handler(w, r)
						return
					}
					adder(w, r)
				})
				if _, err := measure(t.Context(), endpoint, load); err == nil {
					t.Error("no error")
				}
			})
		}
	}
}

// A cached result is asked for until it is there, and always by the same question.
func TestCachedEndpoint(t *testing.T) {
	for _, test := range []struct {
		name  string
		hit   int64 // which reply has an Age first
		wrong bool
	}{
		{"kept before", 1, false},
		{"kept by the first question", 2, false},
		{"expired just then", 3, false},
		{"not kept", 1000, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			var replies atomic.Int64
			var bodies sync.Map
			endpoint := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if replies.Add(1) >= test.hit {
					w.Header().Set("Age", "0")
				}
				bodies.Store(r.URL.RawQuery, true)
				_, _ = io.WriteString(w, `{"result":100000002,"cached":true}`)
			})
			endpoint.Get, endpoint.Cached = true, true
			_, err := measure(t.Context(), endpoint, Load{Connections: 3, Duration: 20 * time.Millisecond})
			if (err != nil) != test.wrong {
				t.Errorf("error %v", err)
			}
			bodies.Range(func(query, _ any) bool {
				if query != "a=100000000&b=2" {
					t.Errorf("asked for %s", query)
				}
				return true
			})
		})
	}
}

func TestMeasurementEndsWithTheContext(t *testing.T) {
	arrived := make(chan struct{})
	endpoint := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		close(arrived)
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-arrived
		cancel()
	}()
	began := time.Now()
	if _, err := measure(ctx, endpoint, Load{Connections: 1, Duration: time.Second}); err == nil {
		t.Error("no error")
	}
	if took := time.Since(began); took > stallTimeout/2 {
		t.Errorf("the read under way ended after %v", took)
	}
}
