package rust

import (
	"bytes"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/grpc"

	"envoke/internal/compile"
	"envoke/internal/faas"
	live "envoke/internal/registry"
	"envoke/internal/sqlite"
	"envoke/internal/testrig"
	"envoke/runtimes/bundle"
)

// What one host has built, the others find.
func TestModulesAreShared(t *testing.T) {
	dir := testrig.Dir(t)
	store, err := sqlite.Open(t.Context(), filepath.Join(dir, "envoke.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	control := live.New(live.Options{
		Store: store, Key: faas.NewSessionKey(), Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	})
	server := grpc.NewServer(live.ServerOptions()...)
	control.Register(server)
	listener := testrig.Listen(t, filepath.Join(dir, "control.sock"))
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	modules := bundle.NewModules(testrig.Connect(t, "unix:"+listener.Addr().String()))

	const source = "fn handler(params: Value) -> Option<u64> { params.as_u64() }"
	first, second := serve(t, Options{Modules: modules}), serve(t, Options{Modules: modules})
	built, err := build(t, first, source)
	if err != nil {
		t.Fatal(err)
	}
	j, err := newJob(source, compile.Options{})
	if err != nil {
		t.Fatal(err)
	}
	testrig.Eventually(t, "the module is stored", func() bool {
		_, err := store.FindModule(t.Context(), first.digest(j))
		return err == nil
	})
	for range 2 { // then from its own disk
		found, err := build(t, second, source)
		if err != nil || !bytes.Equal(found, built) {
			t.Errorf("the second host has %d bytes, %v; want the %d of the first", len(found), err, len(built))
		}
	}
	if n := testutil.ToFloat64(second.metrics.shared); n != 1 {
		t.Errorf("%v modules came from the store, want 1", n)
	}
	if n := testutil.CollectAndCount(second.metrics.builds); n != 0 {
		t.Error("the second host has built")
	}

	server.Stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if _, err := build(t, second, source+"\n"); err != nil {
		t.Errorf("without control: %v", err)
	}
}
