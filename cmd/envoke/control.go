package main

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"envoke/extproc"
	"envoke/internal/accesslog"
	"envoke/internal/api"
	"envoke/internal/faas"
	"envoke/internal/httpserver"
	"envoke/internal/issuers"
	"envoke/internal/keys"
	"envoke/internal/logs"
	"envoke/internal/openfaas"
	"envoke/internal/rawio"
	"envoke/internal/record"
	"envoke/internal/registry"
	"envoke/internal/resultcache"
	"envoke/internal/secrets"
	"envoke/internal/tlsfiles"
	"envoke/internal/upkeep"
	"envoke/migrations"
	"envoke/xds"
)

// control is what knows: the store, the registry, ext_proc, the xDS server, the
// API for reading and the log of requests.
type control struct {
	unlock   func() error // gives the data folder free
	store    store
	redis    redises
	registry *registry.Registry
	keys     *keys.Keys
	xds      *xds.Controller
	filter   *filterKeeper
	log      *accesslog.Tail
	entries  *accesslog.Receiver
	upkeep   *upkeep.Upkeep
	records  *record.Queue
	samples  *record.Sampler
	runtimes map[faas.Language]*runtimeProbe
	issuers  *issuers.Source
	secrets  *secrets.Secrets
	openfaas *openfaas.Gateway // nil: there is none
	machines *machines         // nil: all parts are on this one
	cluster  *cluster          // nil: there is no Kubernetes
	// registerObjects has functions registered that are objects of Kubernetes.
	registerObjects bool

	certificate *tlsfiles.Watcher // of the public listener; nil: it speaks plain HTTP
	routes      *declaredRoutes

	published published
	health    *health.Server

	grpc         *grpc.Server
	grpcListener net.Listener
	api          *http.Server
	apiListener  net.Listener
}

// openControl opens the store and the sockets. Nothing answers before start. The
// filter is the Wasm module that Envoy gets, nil for none yet.
func openControl(ctx context.Context, e *environment, filter []byte) (_ *control, err error) {
	c := &control{registerObjects: e.config.Kubernetes}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.close())
		}
	}()
	if c.unlock, err = lockFolder(e.config.DataDir); err != nil {
		return nil, err
	}
	if c.store, err = openStore(ctx, e.config); err != nil {
		return nil, err
	}
	key, err := c.store.SessionKey(ctx)
	if err != nil {
		return nil, err
	}
	if err := migrations.Seed(ctx, c.store); err != nil {
		return nil, err
	}
	if c.cluster, err = openCluster(e); err != nil {
		return nil, err
	}
	if err = errors.Join(c.openCertificate(e), c.listen(ctx, e), c.openOpenFaaS(e)); err != nil {
		return nil, err
	}
	if c.redis, err = openRedises(e, c.store); err != nil {
		return nil, err
	}
	c.runtimes = probes(e, c.machines)
	c.registry = registry.New(registry.Options{
		Store: c.redis.over(c.store), Key: key, Record: toStore(e.config, c.store), Secrets: c.secretValues,
		Logger: e.logger, Registerer: e.metrics,
	})
	c.keys = newKeys(e, c.store)
	if c.secrets, err = openSecrets(e, c.store, c.registry.SecretsChanged); err != nil {
		return nil, err
	}
	c.filter = newFilterKeeper(e.logger, func(ctx context.Context, module []byte, generation int) error {
		return c.publish(ctx, e, module, generation)
	})
	c.log = newTail(c.store, e, c.filter.failed)
	c.entries = c.log.NewReceiver()
	c.upkeep, c.records = newUpkeep(c.store, e), e.newRecords("control", toStore(e.config, c.store))
	c.samples = &record.Sampler{Gatherer: e.metrics, Host: hostName("control"), Tell: c.records.Add, Logger: e.logger}
	if c.machines == nil { // else each Envoy's machine has a file of its own
		if err := c.log.Rotate(); err != nil {
			return nil, err
		}
	}
	c.serveGRPC(e, key)
	c.serveBudget(e, key)
	if err := c.openRoutes(ctx, e); err != nil {
		return nil, err
	}
	if err := c.openDoor(ctx, e); err != nil {
		return nil, err
	}
	c.serveAPI(e, key)
	// Envoy's first snapshot is there before anybody listens.
	return c, c.filter.set(ctx, filter)
}

func newTail(store accesslog.Store, e *environment, filterFailed func(time.Time)) *accesslog.Tail {
	return accesslog.New(accesslog.Options{
		Path: e.config.accessLogPath(), Store: store, CountOnly: !e.config.DBLoggingEnabled,
		MaxWaiting: int64(e.config.LogWaitingMB) << 20,
		Reopen:     e.envoy.ReopenLogs, FilterFailed: filterFailed, Logger: e.logger, Registerer: e.metrics,
	})
}

func (c *control) serveGRPC(e *environment, key faas.SessionKey) {
	c.grpc = grpc.NewServer(c.grpcOptions()...)
	c.registry.Register(c.grpc)
	c.entries.Register(c.grpc)
	anonymous, _ := e.config.anonymous() // it was checked
	extprocv3.RegisterExternalProcessorServer(c.grpc, extproc.New(extproc.Options{
		Registry: c.registry, Select: e.selection(), Mapped: e.mapped(), Elsewhere: c.elsewhere(), Key: key, Runtimes: languagesOf(c.runtimes),
		Cache: newCache(e.config, c.redis.shared(key)), MaxTimeout: e.config.runtimeTimeout(),
		Auth: e.config.Auth, Anonymous: anonymous,
		Failed: e.failed(c.records), Logger: e.logger, Registerer: e.metrics,
	}))
	c.xds = xds.New(xds.Options{Nodes: e.config.nodes(), Logger: e.logger, Registerer: e.metrics})
	c.xds.Register(c.grpc)
	c.health = c.newHealth()
	healthv1.RegisterHealthServer(c.grpc, c.health)
}

// newCache is where results are kept; nil: none are.
func newCache(c *Config, shared resultcache.Shared) *resultcache.Cache {
	if c.CacheMemoryMB == 0 {
		return nil
	}
	return resultcache.New(resultcache.Options{MaxBytes: int64(c.CacheMemoryMB) << 20, Shared: shared})
}

func (c *control) serveAPI(e *environment, key faas.SessionKey) {
	c.api = &http.Server{
		Handler: api.New(api.Options{
			Store: c.store, Keys: c.keys, Key: key, Revoke: c.registry.Revoke, Changed: c.registry.FunctionChanged,
			Select: e.selection(), Served: offered(e.config), Check: hosts(c.runtimes).Check, Runtimes: c.runtimeStates,
			Secrets: c.secrets, Routes: c.routes, Auth: e.config.Auth, Exposed: e.config.exposed(), OnPostgres: e.config.onPostgres(), Redis: c.redis.ping(), OpenFaaS: c.openFaaSState(),
			MaxScript: e.config.MaxScriptSize, MaxModule: e.config.MaxModuleSize,
			Version: version, Failed: e.failed(c.records), Logger: e.logger,
		}),
		// Envoy bounds the time that a caller may take to send a request.
		ReadTimeout:    time.Duration(e.config.RequestTimeoutSeconds+1) * time.Second,
		WriteTimeout:   time.Duration(e.config.RequestTimeoutSeconds)*time.Second + xds.WriteTimeout,
		MaxHeaderBytes: 128 << 10,
		ErrorLog:       slog.NewLogLogger(e.logger.Handler(), slog.LevelDebug),
	}
}

func state(e *environment, runtimes map[faas.Language]*runtimeProbe) xds.State {
	s := xds.State{
		Listener:    e.config.publicListener(),
		ExtProcPath: e.sockets.control(),
		APIPath:     e.sockets.api(),
		OwnFolder:   e.sockets.dir,
		OpenFaaS:    e.config.openFaaSGateway(),
		MappedNames: e.mapped(),
		MaxTimeout:  e.config.runtimeTimeout(),
		MaxRequests: e.config.RuntimeMaxRequests,
	}
	if s.AccessLogStream = e.config.AccessLog == logStream; !s.AccessLogStream {
		s.AccessLog = e.config.accessLogPath()
	}
	for _, language := range faas.Languages() {
		if probe, ok := runtimes[language]; ok {
			s.Runtimes = append(s.Runtimes, xds.Runtime{
				Language:  language,
				Endpoints: probe.endpoints(),
				GRPC:      probe.grpc,
			})
		}
	}
	if e.config.ControlListen != "" {
		remoteState(e, &s)
	}
	return s
}

// start runs control's components. The log is the lowest but the store: it takes
// what the others leave.
func (c *control) start(l *lifecycle) {
	l.start("store", func(ctx context.Context) error {
		<-ctx.Done()
		return errors.Join(c.store.Close(), c.unlock())
	})
	l.start("upkeep", c.upkeep.Serve)
	l.start("records", c.records.Serve)
	l.start("samples", c.samples.Serve)
	l.start("keys", c.keys.Serve)
	l.start("secrets", c.reseal)
	l.start("redis", c.redis.serve)
	if c.machines == nil {
		l.start("access log", c.log.Serve)
	}
	l.start("access log stream", c.entries.Serve)
	l.start("xds", c.xds.Serve)
	c.routes.start(l)
	if c.openfaas != nil {
		l.start("openfaas", c.openfaas.Serve)
	}
	if c.issuers != nil {
		l.start("issuers", c.issuers.Serve)
	}
	l.start("filter", c.filter.Serve)
	if c.certificate != nil {
		l.start("certificate", c.certificate.Serve)
	}
	if c.machines != nil {
		l.start("port", c.machines.port.Serve)
	}
	l.start("grpc", func(ctx context.Context) error {
		return serveGRPC(ctx, c.grpc, rawio.Listener{Listener: c.grpcListener})
	})
	l.start("registry", c.registry.Serve)
	if f, ok := c.store.(follower); ok {
		heard := c.redis.hearing(func(change faas.Change) { c.registry.Heard(change); c.keys.Heard(change); c.routes.heard(change) })
		l.start("changes", func(ctx context.Context) error { return f.FollowChanges(ctx, heard, lostChanges(l.logger)) })
	}
	l.start("api", func(ctx context.Context) error {
		return httpserver.Serve(ctx, c.api, c.apiListener, 5*time.Second)
	})
	c.cluster.start(l, c.api.Handler, c.registerObjects, c.routes.sources)
	if c.machines != nil {
		c.machines.start(l)
		l.start("health", func(ctx context.Context) error {
			<-ctx.Done()
			c.health.Shutdown() // Envoys turn to another control
			return nil
		})
	}
}

// serveGRPC answers until ctx ends. Streams under way have a moment to end: Envoy
// keeps its xDS stream open as long as it lives.
func serveGRPC(ctx context.Context, server *grpc.Server, listener net.Listener) error {
	stopped := make(chan struct{})
	context.AfterFunc(ctx, func() {
		defer close(stopped)
		cut := time.AfterFunc(time.Second, server.Stop)
		defer cut.Stop()
		server.GracefulStop()
	})
	if err := server.Serve(listener); err != nil && ctx.Err() == nil {
		return err
	}
	<-stopped
	return nil
}

// close undoes openControl where nothing was started.
func (c *control) close() error {
	err := c.redis.close()
	if c.store != nil {
		err = errors.Join(err, c.store.Close())
	}
	if c.unlock != nil {
		err = errors.Join(err, c.unlock())
	}
	for _, listener := range []net.Listener{c.grpcListener, c.apiListener} {
		if listener != nil {
			err = errors.Join(err, listener.Close())
		}
	}
	if c.machines != nil && c.machines.redis != nil {
		err = errors.Join(err, c.machines.redis.Close())
	}
	return err
}

// lostChanges says, once a minute, that for now nobody tells what other controls change.
func lostChanges(logger *slog.Logger) func(error) {
	var said time.Time
	return func(err error) {
		level, now := slog.LevelDebug, time.Now()
		if now.Sub(said) > time.Minute {
			level, said = slog.LevelWarn, now
		}
		logger.Log(context.Background(), level, "the database does not tell what others change; it is asked again", "error", err)
	}
}

// ready tells what keeps control from serving.
func (c *control) ready(ctx context.Context) error {
	return cmp.Or(c.listed(), c.store.Ping(ctx))
}

// logs is what /logs shows operators.
func (c *control) logs(e *environment) http.Handler {
	return logs.Handler(logs.Options{
		Find: c.store.LatestRequestLogs, Failures: c.store.FindFailures, Exchanges: c.store.FindExchanges,
		Output: &e.output, Logger: e.logger,
	})
}

// debug is what /debug/ shows operators.
func (c *control) debug() map[string]func() any {
	all := map[string]func() any{"xds": c.routes.status}
	if c.openfaas != nil {
		all["openfaas"] = func() any { return c.openfaas.Status() }
	}
	return all
}
