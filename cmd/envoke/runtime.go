package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"envoke/internal/api"
	"envoke/internal/faas"
	"envoke/internal/logs"
	"envoke/runtimes/bundle"
	"envoke/runtimes/host"
	"envoke/runtimes/nodejs"
	"envoke/runtimes/pool"
	"envoke/runtimes/rpc"
	"envoke/runtimes/sandbox"
	"envoke/xds"
)

const (
	maxBody   = 6 << 20 // bytes of an execute's body (api.md)
	maxResult = 6 << 20 // bytes of a result's JSON (api.md)

	maxSessions    = 100_000   // held by a host; others are fetched again
	maxScriptBytes = 256 << 20 // of their scripts
)

func runtimeCommand(s streams) *cobra.Command {
	command := &cobra.Command{
		Use:   "runtime",
		Short: "Run one runtime host",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	command.AddCommand(partCommand(s, startNodejs, &cobra.Command{
		Use:   "nodejs",
		Short: "Run the host of JavaScript functions",
		Long:  "Run the host of JavaScript functions. It finds control by the socket in --run-dir and makes nodejs.sock there.",
	}))
	return command
}

// runtimeHost is one language's host with what it stands on.
type runtimeHost struct {
	conn     *grpc.ClientConn
	bundles  *bundle.Bundles
	pool     *pool.Pool
	host     *host.Host
	listener net.Listener

	rpc         *rpc.Server
	rpcListener net.Listener
}

func openHost(ctx context.Context, e *environment) (*runtimeHost, error) {
	interpreter, err := nodejs.Find(ctx, e.config.Node)
	if err != nil {
		return nil, err
	}
	command, err := nodejs.Prepare(e.config.CacheDir, interpreter, e.config.WorkerMemoryMB)
	if err != nil {
		return nil, err
	}
	listener, err := listenUnix(ctx, e.sockets.host(string(faas.NodeJS)))
	if err != nil {
		return nil, err
	}
	rpcListener, err := listenUnix(ctx, e.sockets.hostGRPC(string(faas.NodeJS)))
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	conn, err := grpc.NewClient("unix:"+e.sockets.control(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, errors.Join(err, listener.Close(), rpcListener.Close())
	}
	h := &runtimeHost{conn: conn, listener: listener, rpcListener: rpcListener}
	h.bundles = bundle.New(bundle.Options{
		Conn: conn, Host: hostName(), Language: faas.NodeJS, Logger: e.logger, Registerer: e.metrics,
		MaxSessions: maxSessions, MaxScriptBytes: maxScriptBytes,
	})
	h.pool = pool.New(poolOptions(e, pool.Runtime{Language: faas.NodeJS, Argv: command.Argv, Env: command.Env}))
	h.host = host.New(host.Options{
		Language: faas.NodeJS, Bundles: h.bundles, Engine: h.pool, Version: version,
		MaxTimeout: e.config.runtimeTimeout(), MaxScript: e.config.MaxScriptSize, MaxBody: maxBody,
		SessionExpiry: e.config.sessionExpiry(), Logger: e.logger, Registerer: e.metrics,
	})
	h.rpc = rpc.New(rpc.Options{
		Language: faas.NodeJS, Version: version, Host: h.host,
		MaxTimeout: e.config.runtimeTimeout(), MaxMessage: maxBody,
		Output: e.output, Metrics: e.metrics, Logger: e.logger,
		LogLevel: e.level, Idle: h.pool, MaxIdle: e.config.MaxWorkers,
	})
	return h, nil
}

func poolOptions(e *environment, runtime pool.Runtime) pool.Options {
	c := e.config
	return pool.Options{
		Runtime: runtime, Sandbox: sandbox.Config{},
		Idle: c.IdleWorkers, MaxWorkers: c.MaxWorkers,
		Concurrency: c.WorkerConcurrency, Queue: c.WorkerQueue,
		LoadTimeout: time.Duration(c.ScriptTimeoutMS) * time.Millisecond,
		IdleTimeout: time.Duration(c.WorkerIdleSeconds) * time.Second,
		MaxResult:   maxResult,
		Logger:      e.logger, Registerer: e.metrics,
		Log: e.logLine,
	}
}

// hostName is unique to this process among the hosts of a control.
func hostName() string {
	name, err := os.Hostname()
	if err != nil {
		name = "localhost"
	}
	return fmt.Sprintf("%s/%d", name, os.Getpid())
}

func (h *runtimeHost) start(l *lifecycle) {
	l.start("bundles", func(ctx context.Context) error {
		return errors.Join(h.bundles.Serve(ctx), h.conn.Close())
	})
	l.start("nodejs workers", h.pool.Serve)
	l.start("nodejs host", func(ctx context.Context) error { return h.host.Serve(ctx, h.listener) })
	l.start("nodejs gRPC", func(ctx context.Context) error { return h.rpc.Serve(ctx, h.rpcListener) })
}

func (h *runtimeHost) ready(context.Context) error {
	if !h.bundles.Ready() {
		return errors.New("the nodejs host has not reached control yet")
	}
	return nil
}

// runtimeProbe asks a runtime host how it is.
type runtimeProbe struct {
	endpoint xds.Endpoint
	grpc     []xds.Endpoint // none: only hosts of this run folder are known to have one
	client   *http.Client
}

// probes has one for each language that this installation runs.
func probes(e *environment) map[faas.Language]*runtimeProbe {
	at := xds.Endpoint{Path: e.sockets.host(string(faas.NodeJS))}
	grpc := []xds.Endpoint{{Path: e.sockets.hostGRPC(string(faas.NodeJS))}}
	if e.config.NodejsRuntimeURL != "" {
		at, _ = parseEndpoint(e.config.NodejsRuntimeURL) // checked with the settings
		grpc = nil
	}
	probe := newProbe(at)
	probe.grpc = grpc
	return map[faas.Language]*runtimeProbe{faas.NodeJS: probe}
}

func newProbe(at xds.Endpoint) *runtimeProbe {
	network, address := "unix", at.Path
	if at.Path == "" {
		network, address = "tcp", net.JoinHostPort(at.Host, strconv.Itoa(at.Port))
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
	return &runtimeProbe{endpoint: at, client: &http.Client{
		Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true},
	}}
}

// hosts are how the API reaches the runtime hosts.
func hosts(probes map[faas.Language]*runtimeProbe) api.Hosts {
	all := api.Hosts{}
	for language, probe := range probes {
		all[language] = probe.client
	}
	return all
}

// state is ok, degraded (it answers, but not well) or down.
func (p *runtimeProbe) state(ctx context.Context) string {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://runtime/health", http.NoBody)
	if err != nil {
		return "down"
	}
	reply, err := p.client.Do(request)
	if err != nil {
		return "down"
	}
	defer func() { _ = reply.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(reply.Body, 64<<10))
	if reply.StatusCode != http.StatusOK {
		return "degraded"
	}
	return "ok"
}

func languagesOf(runtimes map[faas.Language]*runtimeProbe) []faas.Language {
	var languages []faas.Language
	for _, language := range faas.Languages() {
		if _, ok := runtimes[language]; ok {
			languages = append(languages, language)
		}
	}
	return languages
}

// runtimeStates asks all runtimes; the caller sets the deadline.
func (c *control) runtimeStates(ctx context.Context) map[faas.Language]string {
	states := map[faas.Language]string{}
	for language, probe := range c.runtimes {
		states[language] = probe.state(ctx)
	}
	return states
}

// logLine puts a function's output where an operator finds it by the request's id.
func (e *environment) logLine(line pool.LogLine) {
	e.output.Add(logs.Line{
		RequestID: line.RequestID, Owner: line.Owner, Time: time.Now().UTC(), Level: line.Level.String(), Text: line.Text,
	})
	e.logger.LogAttrs(context.Background(), line.Level, "function output",
		slog.String("request_id", line.RequestID), slog.String("text", line.Text))
}
