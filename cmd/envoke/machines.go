package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"envoke/envoy"
	"envoke/internal/endpoints"
	"envoke/internal/faas"
	"envoke/internal/mtls"
	"envoke/internal/redis"
	"envoke/internal/registry"
	"envoke/internal/routing"
	"envoke/xds"
)

// machines is what control has of parts on other machines.
type machines struct {
	identity *mtls.Identity
	port     *mtls.Port
	redis    *redis.Client // nil: hosts are found by Kubernetes
	hosts    *endpoints.Follower
}

// rightsAtControl are who may call what of control's gRPC.
var rightsAtControl = mtls.Rights{
	"envoke.control.v1.Control":                             {mtls.Host},
	"envoy.service.discovery.v3.AggregatedDiscoveryService": {mtls.Envoy},
	"envoy.service.ext_proc.v3.ExternalProcessor":           {mtls.Envoy},
	"envoy.service.accesslog.v3.AccessLogService":           {mtls.Envoy},
	"envoy.service.auth.v3.Authorization":                   {mtls.Envoy},
	"envoy.service.ratelimit.v3.RateLimitService":           {mtls.Envoy},
	"grpc.health.v1.Health":                                 {mtls.Envoy, mtls.Host, mtls.Control},
}

// allowedAtControl are who may connect to control: callers reach its API through Envoy.
var allowedAtControl = mtls.Allowed{mtls.HTTP: {mtls.Envoy}, mtls.GRPC: mtls.Roles()}

// allowedAtHosts are who may send requests to a host: control has it check code.
var allowedAtHosts = mtls.Allowed{mtls.HTTP: {mtls.Envoy, mtls.Control}, mtls.GRPC: {mtls.Envoy}}

// listen opens control's sockets, or its port for other machines.
func (c *control) listen(ctx context.Context, e *environment) (err error) {
	if e.config.ControlListen == "" {
		if c.grpcListener, err = listenUnix(ctx, e.sockets.control()); err != nil {
			return err
		}
		c.apiListener, err = listenUnix(ctx, e.sockets.api())
		return err
	}
	m := &machines{}
	if m.identity, err = e.openIdentity(mtls.Control); err != nil {
		return err
	}
	if m.port, err = e.openPort(ctx, e.config.ControlListen, m.identity, allowedAtControl); err != nil {
		return err
	}
	c.grpcListener, c.apiListener = m.port.Of(mtls.GRPC), m.port.Of(mtls.HTTP)
	directory, err := m.directory(e, c.cluster)
	if err != nil {
		return err
	}
	m.hosts = endpoints.New(endpoints.Options{
		Directory: directory, Prove: func(ctx context.Context, h faas.Host) error {
			if c.runtimes[h.Language] == nil {
				return fmt.Errorf("this installation has no %s", h.Language)
			}
			return m.prove(ctx, h)
		},
		Changed: func(ctx context.Context, hosts []faas.Host) error { return c.hostsChanged(ctx, e, hosts) },
		Logger:  e.logger, Registerer: e.metrics,
	})
	c.machines = m
	return nil
}

// directory is where hosts are found: in Redis, where they say that they are there, or among
// the Services of the cluster.
func (m *machines) directory(e *environment, cluster *cluster) (_ endpoints.Directory, err error) {
	if e.hosts = cluster.hosts(e.config); e.hosts != nil {
		return e.hosts, nil
	}
	m.redis, err = redis.New(redis.Options{URL: e.config.RedisURL, Use: "hosts", Logger: e.logger, Registerer: e.metrics})
	if err != nil {
		return nil, err
	}
	return redis.NewHosts(m.redis), nil
}

// checkRemoteControl refuses what control on several machines lacks or cannot have.
func checkRemoteControl(c *Config) (faults []error) {
	if c.ControlListen == "" {
		faults = append(faults, errors.New("CONTROL_LISTEN is not set, although parts on other machines are configured"))
	}
	if all, _ := c.controls(); len(all) > 1 && !c.onPostgres() {
		faults = append(faults, fmt.Errorf("DATABASE_URL is no postgres:// address, although CONTROL_ADDRESSES has %d controls: they would have a database each, and not know each other's sessions and functions", len(all)))
	}
	if c.RedisURL == "" && !c.discovers() {
		faults = append(faults, errors.New("REDIS_URL is not set: runtime hosts on other machines are found by it"))
	}
	for _, l := range languages() {
		if l.elsewhere(c) != "" {
			faults = append(faults, fmt.Errorf("%s is set: with CONTROL_LISTEN hosts are found in Redis or by Kubernetes", l.variable()))
		}
	}
	return faults
}

// prove has a host show that it has a host's certificate, runs the language and can take
// requests.
func (m *machines) prove(ctx context.Context, h faas.Host) error {
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return m.identity.DialTLS(ctx, h.Address, mtls.Host, mtls.HTTP)
	}}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://runtime/health", http.NoBody)
	if err != nil {
		return err
	}
	reply, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = reply.Body.Close() }()
	var health struct {
		Status   string        `json:"status"`
		Language faas.Language `json:"language"`
	}
	raw, err := io.ReadAll(io.LimitReader(reply.Body, 64<<10))
	if err == nil {
		err = json.Unmarshal(raw, &health)
	}
	switch {
	case err != nil:
		return fmt.Errorf("read its health: %w", err)
	case health.Language != h.Language:
		return fmt.Errorf("it runs %q", health.Language)
	case reply.StatusCode != http.StatusOK:
		return fmt.Errorf("%w: %s", endpoints.ErrNotReady, health.Status)
	}
	return nil
}

// published is what Envoys were told last, beside the settings.
type published struct {
	mu         sync.Mutex
	filter     []byte
	generation int
	tls        xds.TLS // of the public listener
	// hosts have been looked for. Before that nothing is told: an Envoy that knows hosts
	// must not hear that there are none.
	hosts bool
}

// publish tells Envoy all that it is to serve, with another filter than before.
func (c *control) publish(ctx context.Context, e *environment, filter []byte, generation int) error {
	c.published.mu.Lock()
	defer c.published.mu.Unlock()
	c.published.filter, c.published.generation = filter, generation
	return c.publishState(ctx, e)
}

// republish tells Envoy all anew, after something else has changed.
func (c *control) republish(ctx context.Context, e *environment) error {
	c.published.mu.Lock()
	defer c.published.mu.Unlock()
	return c.publishState(ctx, e)
}

// hostsChanged tells Envoy and this control which hosts there are on other machines.
func (c *control) hostsChanged(ctx context.Context, e *environment, hosts []faas.Host) error {
	found := map[faas.Language][]xds.Endpoint{}
	for _, h := range hosts {
		at, err := netip.ParseAddrPort(h.Address)
		if err != nil {
			return err // they were checked
		}
		found[h.Language] = append(found[h.Language], xds.Endpoint{Host: at.Addr().String(), Port: int(at.Port()), Zone: h.Zone})
	}
	c.published.mu.Lock()
	defer c.published.mu.Unlock()
	for language, probe := range c.runtimes {
		at := found[language]
		probe.at.Store(&at)
	}
	c.published.hosts = true
	if err := c.publishState(ctx, e); err != nil {
		return err
	}
	c.health.SetServingStatus("", healthv1.HealthCheckResponse_SERVING)
	return nil
}

// publishState is called with the lock held.
func (c *control) publishState(ctx context.Context, e *environment) error {
	if c.machines != nil && !c.published.hosts {
		return nil
	}
	s := state(e, c.runtimes)
	s.Auth, s.Rates, s.SharedRates = c.authState(e), e.config.rates(), e.config.sharedWait()
	s.Filter, s.FilterGeneration, s.Listener.TLS = c.published.filter, c.published.generation, c.published.tls
	return c.routes.publish(func(declared routing.Routing) error {
		s.Routing = declared
		return c.xds.Publish(ctx, s)
	})
}

// listed tells whether hosts on other machines have been looked for.
func (c *control) listed() error {
	c.published.mu.Lock()
	defer c.published.mu.Unlock()
	if c.machines != nil && !c.published.hosts {
		return errors.New("it is not known yet where runtime hosts are")
	}
	return nil
}

// newHealth is what Envoys ask on other machines whether this control will do.
func (c *control) newHealth() *health.Server {
	server := health.NewServer()
	if c.machines != nil {
		server.SetServingStatus("", healthv1.HealthCheckResponse_NOT_SERVING)
	}
	return server
}

// remoteState is the part of a state that other machines need.
func remoteState(e *environment, s *xds.State) {
	s.Controls, _ = e.config.controls() // checked with the settings
	s.ExtProcPath, s.APIPath = "", ""
	s.Secrets = xds.Secrets{Identity: envoy.IdentityFile, Authority: envoy.AuthorityFile}
	s.AccessLog = remoteAccessLog
	for n := range s.Runtimes {
		s.Runtimes[n].GRPC = s.Runtimes[n].Endpoints
	}
}

// startMachines runs what control has for other machines.
func (m *machines) start(l *lifecycle) {
	l.start("hosts", func(ctx context.Context) error {
		err := m.hosts.Serve(ctx)
		if m.redis != nil {
			err = errors.Join(err, m.redis.Close())
		}
		return err
	})
}

// grpcOptions are those of control's server.
func (c *control) grpcOptions() []grpc.ServerOption {
	options := registry.ServerOptions()
	if c.machines != nil {
		options = append(options, rightsAtControl.ServerOptions()...)
	}
	return options
}

// dial is how control reaches an endpoint of a host.
func (m *machines) dial(ctx context.Context, at xds.Endpoint) (net.Conn, error) {
	address := net.JoinHostPort(at.Host, strconv.Itoa(at.Port))
	if m != nil {
		return m.identity.DialTLS(ctx, address, mtls.Host, mtls.HTTP)
	}
	if at.Path != "" {
		return (&net.Dialer{}).DialContext(ctx, "unix", at.Path)
	}
	return (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", address)
}
