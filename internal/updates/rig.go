package updates

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
	"google.golang.org/grpc"

	"envoke/envoy"
	"envoke/internal/routing"
	"envoke/xds"
)

const (
	startTimeout   = time.Minute
	requestTimeout = 10 * time.Second
	// maxTimeout is short, so that clusters come and go within a run.
	maxTimeout = time.Second
)

// rig is an Envoy, the control that tells it its routes, and the service behind those.
type rig struct {
	hosts      int
	controller *xds.Controller
	envoy      *envoy.Process
	client     *fasthttp.HostClient
	service    *fasthttp.Server
	grpc       *grpc.Server
	socket     string
	cancel     context.CancelFunc
	running    sync.WaitGroup

	mu    sync.Mutex // guards what follows
	state xds.State
	fault error
}

func startRig(ctx context.Context, c Config, n, routes int) (*rig, error) {
	dir := filepath.Join(c.Dir, fmt.Sprint("rig", n))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	r := &rig{
		hosts: max(1, routes/perHost), cancel: cancel, socket: filepath.Join(dir, "service.sock"),
		controller: xds.New(xds.Options{}), grpc: grpc.NewServer(),
		service: &fasthttp.Server{Handler: func(*fasthttp.RequestCtx) {}, NoDefaultServerHeader: true},
	}
	r.state = xds.State{
		Listener:    xds.Listener{Host: "127.0.0.1"},
		ExtProcPath: filepath.Join(dir, "extproc.sock"), APIPath: filepath.Join(dir, "api.sock"),
		MaxTimeout: maxTimeout,
		Routing:    routing.Routing{Upstreams: []routing.Upstream{r.upstream("first")}},
	}
	for host := range r.hosts {
		r.state.Routing.Routes = append(r.state.Routing.Routes, r.route(host, 0, "first"))
	}
	if err := r.controller.Publish(ctx, r.state); err != nil {
		return r, err
	}
	return r, r.start(ctx, c, dir)
}

func (r *rig) upstream(name string) routing.Upstream {
	return routing.Upstream{Name: name, Endpoints: []routing.UpstreamEndpoint{{Path: r.socket}}}
}

func hostname(host int) string { return fmt.Sprintf("host-%04d.example.com", host) }

// route is that of a host: ten paths, whose answers say by which change they are.
func (r *rig) route(host, change int, upstream string) routing.Route {
	route := routing.Route{Name: fmt.Sprint("team/route-", host), Hostnames: []string{hostname(host)}}
	for n := range perHost {
		route.Rules = append(route.Rules, routing.Rule{
			Matches:     []routing.Match{{Path: &routing.PathMatch{Type: routing.PathPrefix, Value: fmt.Sprint("/part-", n)}}},
			BackendRefs: []routing.BackendRef{{Name: upstream}},
			Filters: []routing.Filter{{Type: routing.ResponseHeaderModifier, ResponseHeaderModifier: &routing.Headers{
				Set: []routing.Header{{Name: changeHeader, Value: strconv.Itoa(change)}},
			}}},
		})
	}
	return route
}

func (r *rig) start(ctx context.Context, c Config, dir string) error {
	service, err := new(net.ListenConfig).Listen(ctx, "unix", r.socket)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	ads := filepath.Join(dir, "ads.sock")
	control, err := new(net.ListenConfig).Listen(ctx, "unix", ads)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	r.controller.Register(r.grpc)
	r.envoy = envoy.New(envoy.Options{
		Binary: c.Envoy, Dir: dir, Concurrency: 1, Logger: slog.New(slog.NewTextHandler(c.Out, &slog.HandlerOptions{Level: slog.LevelWarn})),
		Bootstrap: envoy.Bootstrap{NodeID: "updates", ControlSocket: ads, AdminSocket: filepath.Join(dir, "admin.sock")},
	})
	r.run(func() error { return r.service.Serve(service) })
	r.run(func() error { return r.grpc.Serve(control) })
	r.run(func() error { return r.controller.Serve(ctx) })
	r.run(func() error { return r.envoy.Serve(ctx) })
	ready, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := r.envoy.WaitReady(ready); err != nil {
		return err
	}
	addr, err := r.envoy.ListenerAddr(ready, xds.ListenerName)
	if err != nil {
		return err
	}
	r.client = &fasthttp.HostClient{Addr: addr, MaxConns: 512, ReadTimeout: requestTimeout, WriteTimeout: requestTimeout, MaxIdemponentCallAttempts: 1}
	return nil
}

func (r *rig) run(serve func() error) {
	r.running.Go(func() {
		err := serve()
		r.mu.Lock()
		defer r.mu.Unlock()
		r.fault = errors.Join(r.fault, err)
	})
}

func (r *rig) stop() error {
	r.cancel()
	r.grpc.Stop()
	if r.client != nil {
		r.client.CloseIdleConnections()
	}
	_ = r.service.Shutdown()
	r.running.Wait()
	return r.fault
}
