package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"envoke/internal/api"
	"envoke/internal/faas"
	"envoke/internal/logs"
	"envoke/internal/rawio"
	"envoke/internal/record"
	"envoke/runtimes/bundle"
	"envoke/runtimes/hook"
	"envoke/runtimes/host"
	"envoke/runtimes/pool"
	"envoke/runtimes/rpc"
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
	for _, l := range languages() {
		command.AddCommand(partCommand(s, flagsOfHost(l), startHost(l), &cobra.Command{
			Use:   string(l.Language),
			Short: "Run the host of " + l.title + " functions",
			Long:  fmt.Sprintf("Run the host of %s functions. It finds control by the socket in --run-dir and makes %s.sock there.", l.title, l.Language),
		}))
	}
	return command
}

// runtimeHost is one language's host with what it stands on.
type runtimeHost struct {
	language faas.Language
	link     *link
	bundles  *bundle.Bundles
	engine   engine
	host     *host.Host
	records  *record.Queue
	samples  *record.Sampler
	rpc      *rpc.Server
}

func openHost(ctx context.Context, e *environment, l language) (*runtimeHost, error) {
	to, err := openLink(ctx, e, l.Language)
	if err != nil {
		return nil, err
	}
	code, err := l.openEngine(ctx, e, to.control)
	if err != nil {
		return nil, errors.Join(err, to.close())
	}
	h := &runtimeHost{language: l.Language, link: to, engine: code}
	h.records = e.newRecords(string(l.Language), toControl(to.control, to.name))
	h.samples = &record.Sampler{Gatherer: e.metrics, Language: l.Language, Host: to.name, Tell: h.records.Add, Logger: e.logger}
	h.bundles = bundle.New(bundle.Options{
		Conn: to.control, Reconnect: to.reconnect, Host: to.name, Language: l.Language, Logger: e.logger, Registerer: e.metrics,
		MaxSessions: maxSessions, MaxScriptBytes: maxScriptBytes,
	})
	h.host = host.New(host.Options{
		Language: l.Language, Bundles: h.bundles, Engine: code, Version: version,
		MaxTimeout: e.config.runtimeTimeout(), MaxScript: l.maxScriptSize(e.config), MaxBody: maxBody, MaxMemoryMB: e.config.WorkerMemoryMB,
		Patience: e.config.queueWait(), Concurrency: l.concurrency(e.config),
		MaxCPU:        time.Duration(e.config.WorkerCPUMS) * time.Millisecond,
		SessionExpiry: e.config.sessionExpiry(), BuildWait: time.Duration(e.config.BuildWaitMS) * time.Millisecond,
		NoEgress: e.noEgress(l), NoDependencies: noPackages(code), NoRetain: noContext(l, e.config),
		Failed: e.failed(h.records), Exchanges: e.exchanges(h.records), Logger: e.logger, Registerer: e.metrics,
	})
	h.rpc = newRPC(e, h)
	return h, nil
}

func newRPC(e *environment, h *runtimeHost) *rpc.Server {
	idle, _ := h.engine.(rpc.IdleWorkers) // WebAssembly has no workers
	return rpc.New(rpc.Options{
		Language: h.language, Version: version, Host: h.host,
		MaxTimeout: e.config.runtimeTimeout(), MaxMessage: maxBody,
		Output: &e.output, Failed: e.failed(h.records), Metrics: e.metrics, Logger: e.logger,
		Hooks: hook.New(hook.Options{
			Language: h.language, Host: h.host, Failed: e.failed(h.records), Logger: e.logger, Registerer: e.metrics,
		}),
		LogLevel: e.level, Idle: idle, MaxIdle: e.config.MaxWorkers,
	})
}

func (h *runtimeHost) start(l *lifecycle) {
	name := string(h.language)
	l.start(name+" bundles", func(ctx context.Context) error {
		return errors.Join(h.bundles.Serve(ctx), h.link.control.Close())
	})
	l.start(name+" records", h.records.Serve)
	l.start(name+" samples", h.samples.Serve)
	l.start(name+" workers", h.engine.Serve)
	h.link.startPort(l, name)
	l.start(name+" host", func(ctx context.Context) error { return h.host.Serve(ctx, h.link.http) })
	l.start(name+" gRPC", func(ctx context.Context) error { return h.rpc.Serve(ctx, rawio.Listener{Listener: h.link.grpc}) })
	h.link.startAnnouncing(l, name, h.bundles.Ready)
}

func (h *runtimeHost) ready(context.Context) error {
	if !h.bundles.Ready() {
		return fmt.Errorf("the %s host has not reached control yet", h.language)
	}
	return nil
}

// runtimeProbe asks a language's runtime hosts how they are.
type runtimeProbe struct {
	at     atomic.Pointer[[]xds.Endpoint]
	grpc   []xds.Endpoint // none: only hosts of this run folder are known to have one
	client *http.Client
}

func (p *runtimeProbe) endpoints() []xds.Endpoint { return *p.at.Load() }

// probes has one for each language that this installation runs.
func probes(e *environment, m *machines) map[faas.Language]*runtimeProbe {
	out := make(map[faas.Language]*runtimeProbe)
	for _, l := range served(e.config) {
		if m != nil { // hosts are found later
			out[l.Language] = newProbe(nil, m)
			continue
		}
		probe := newProbe(l.endpoints(e), nil)
		if l.elsewhere(e.config) == "" {
			probe.grpc = []xds.Endpoint{{Path: e.sockets.hostGRPC(string(l.Language))}}
		}
		out[l.Language] = probe
	}
	return out
}

// newProbe makes a probe that asks the first host that can be reached.
func newProbe(endpoints []xds.Endpoint, m *machines) *runtimeProbe {
	p := &runtimeProbe{}
	p.at.Store(&endpoints)
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		err := errors.New("no host is there")
		for _, at := range p.endpoints() {
			var conn net.Conn
			if conn, err = m.dial(ctx, at); err == nil {
				return conn, nil
			}
		}
		return nil, err
	}
	p.client = &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	return p
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

// logLine puts a function's output where an operator finds it: by the request's id
// where that is known, by its owner (the session) and the code's digest in any case.
func (e *environment) logLine(line pool.LogLine) {
	e.output.Add(logs.Line{
		RequestID: line.RequestID, Owner: line.Owner, Time: time.Now().UTC(), Level: line.Level.String(), Text: line.Text,
	})
	if e.print != nil {
		e.print(line)
		return
	}
	attrs := make([]slog.Attr, 0, 4)
	if line.RequestID != "" {
		attrs = append(attrs, slog.String("request_id", line.RequestID))
	}
	attrs = append(attrs, slog.String("owner", line.Owner),
		slog.String("digest", string(line.Digest)), slog.String("text", line.Text))
	e.logger.LogAttrs(context.Background(), line.Level, "function output", attrs...)
}
