package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"

	"envoke/internal/admin"
)

// operators is what the operators' port shows of a process.
type operators struct {
	ready  func(context.Context) error
	scheme string // of the public port; empty: the process does not know
	debug  map[string]func() any
	logs   http.Handler // nil: the process knows of no requests
}

// startOperators opens the operators' port, on loopback only.
func startOperators(ctx context.Context, e *environment, l *lifecycle, o operators) error {
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(e.config.AdminPort))
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("operators' port: %w", err)
	}
	e.operatorsURL = "http://" + listener.Addr().String()
	server := admin.New(admin.Options{
		Registry: e.metrics, Ready: o.ready, Scheme: o.scheme, Debug: o.debug, Logs: o.logs, Logger: e.logger,
	})
	l.start("operators", func(ctx context.Context) error { return server.Serve(ctx, listener) })
	return startMetrics(ctx, e, l, o)
}

// startMetrics opens the port for those who watch from other machines, where one is set.
func startMetrics(ctx context.Context, e *environment, l *lifecycle, o operators) error {
	if e.config.MetricsListen == "" {
		return nil
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", e.config.MetricsListen)
	if err != nil {
		return fmt.Errorf("port for metrics: %w", err)
	}
	e.metricsURL = "http://" + listener.Addr().String()
	server := admin.New(admin.Options{Registry: e.metrics, Ready: o.ready, Logger: e.logger, Narrow: true})
	l.start("metrics", func(ctx context.Context) error { return server.Serve(ctx, listener) })
	return nil
}
