package accesslog

import (
	"context"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"

	"envoke/internal/envoytest"
	"envoke/internal/faas"
	"envoke/internal/testrig"
	"envoke/xds"
)

// TestRealEnvoy: under load, with a file that is full every few requests, each
// request of a real Envoy becomes one row.
func TestRealEnvoy(t *testing.T) {
	r := newRig(t)
	r.options.MaxSize = 4000
	var (
		process  atomic.Pointer[envoytest.Envoy]
		reopened atomic.Int64
	)
	r.options.Reopen = func(ctx context.Context) error {
		reopened.Add(1)
		return process.Load().ReopenLogs(ctx)
	}
	tail := r.process()
	if err := tail.Rotate(); err != nil {
		t.Fatal(err)
	}
	envoy := startEnvoy(t, r.envoy.path)
	process.Store(envoy)
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error)
	go func() { served <- tail.Serve(ctx) }()

	const clients, each = 4, 25
	sent := 0
	for reopened.Load() < 4 && !t.Failed() {
		var work sync.WaitGroup
		for range clients {
			work.Go(func() { get(t, "http://"+envoy.Addr+"/no/such/path", each) })
		}
		work.Wait()
		sent += clients * each
	}
	var rows []faas.RequestLog
	testrig.Eventually(t, "a row for each request", func() bool {
		var err error
		if rows, err = r.store.LatestRequestLogs(t.Context(), faas.RequestLogQuery{Limit: 2 * sent}); err != nil {
			t.Fatal(err)
		}
		return len(rows) >= sent
	})
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
	ids := make(map[string]bool)
	for _, row := range rows {
		ids[row.RequestID] = true
		if row.StatusCode != 404 || row.Path != "/no/such/path" || time.Since(row.StartedAt) > time.Minute || row.Duration <= 0 {
			t.Fatalf("row is %+v", row)
		}
	}
	if len(ids) != sent || len(rows) != sent {
		t.Errorf("%d rows of %d requests, want %d", len(rows), len(ids), sent)
	}
}

func get(t *testing.T, url string, times int) {
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for range times {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Error(err)
			return
		}
		response, err := client.Do(request)
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
	}
}

// startEnvoy runs an Envoy whose listener writes the log.
func startEnvoy(t *testing.T, log string) *envoytest.Envoy {
	t.Helper()
	return startEnvoyOf(t, func(s *xds.State) { s.AccessLog = log }, nil)
}

// startEnvoyOf runs an Envoy with a configuration of its own, which may send its log to a
// receiver.
func startEnvoyOf(t *testing.T, change func(*xds.State), receiver *Receiver) *envoytest.Envoy {
	t.Helper()
	dir := testrig.Dir(t)
	socket := filepath.Join(dir, "ads.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	controller, server := xds.New(xds.Options{}), grpc.NewServer()
	controller.Register(server)
	state := xds.State{
		Listener:    xds.Listener{Host: "127.0.0.1"},
		ExtProcPath: filepath.Join(dir, "none.sock"),
		APIPath:     filepath.Join(dir, "none.sock"),
		MaxTimeout:  time.Second,
	}
	if change(&state); receiver != nil {
		state.ExtProcPath = socket
		receiver.Register(server)
	}
	if err := controller.Publish(t.Context(), state); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() { _ = controller.Serve(ctx) })
	serving.Go(func() { _ = server.Serve(listener) })
	t.Cleanup(func() {
		stop()
		server.Stop()
		serving.Wait()
	})
	return envoytest.Start(t, envoytest.Options{Control: socket, Listener: xds.ListenerName})
}
