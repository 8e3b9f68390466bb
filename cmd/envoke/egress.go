package main

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/pflag"

	"envoke/runtimes/egress"
	"envoke/runtimes/sandbox"
)

// Values of the setting egress.
const (
	egressOff        = "off"
	egressRegistered = "registered"
	egressAll        = "all"
)

// bindEgress declares the flags of functions' network.
func (c *Config) bindEgress(f *pflag.FlagSet) {
	f.StringVar(&c.Egress, "egress", egressRegistered, "which functions may have a network: off (none), registered, or all (session scripts too)")
	f.StringVar(&c.EgressAllow, "egress-allow", "", "what they may reach although it is no public host: networks and hosts, with or without ports, such as 10.1.0.0/16:5432,db.example.com")
	f.StringVar(&c.EgressDeny, "egress-deny", "", "what they may not reach, of the same form; * is everything that --egress-allow does not name")
	f.IntVar(&c.EgressMaxConnections, "egress-max-connections", 1024, "most connections of all functions at once")
	f.IntVar(&c.EgressWorkerConnections, "egress-worker-connections", 64, "most connections of one worker at once")
	f.IntVar(&c.EgressIdleSeconds, "egress-idle-seconds", 120, "a connection of a function on which nothing passes for so long is ended")
}

// longestConnection is what the proxy gives a connection in all.
const longestConnection = time.Hour

func (c *Config) egressLimits() egress.Limits {
	return egress.Limits{
		PerWorker: c.EgressWorkerConnections, All: c.EgressMaxConnections,
		Idle: time.Duration(c.EgressIdleSeconds) * time.Second, Total: longestConnection,
	}
}

func (c *Config) checkEgress() []error {
	faults := checkNumbers([]number{
		{"EGRESS_MAX_CONNECTIONS", c.EgressMaxConnections, 1, 1 << 16},
		{"EGRESS_WORKER_CONNECTIONS", c.EgressWorkerConnections, 1, 1 << 16},
		{"EGRESS_IDLE_SECONDS", c.EgressIdleSeconds, 1, int(longestConnection.Seconds())},
	})
	if values := []string{egressOff, egressRegistered, egressAll}; !slices.Contains(values, c.Egress) {
		faults = append(faults, fmt.Errorf("EGRESS is %q: it must be %s, %s or %s", c.Egress, egressOff, egressRegistered, egressAll))
	}
	if _, err := egress.ParseRules(c.EgressAllow, c.EgressDeny); err != nil {
		faults = append(faults, fmt.Errorf("EGRESS_ALLOW or EGRESS_DENY: %w", err))
	}
	return faults
}

// startEgress starts the proxy by which functions reach the network, if any may and the
// kernel can keep them to it.
func startEgress(ctx context.Context, e *environment, l *lifecycle) error {
	if e.config.Egress == egressOff {
		return nil
	}
	if why := sandbox.NoConnect(); why != "" {
		e.logger.Warn("no function gets a network here", "reason", why)
		return nil
	}
	rules, err := egress.ParseRules(e.config.EgressAllow, e.config.EgressDeny)
	if err != nil {
		return err
	}
	e.egress, err = egress.Open(ctx, egress.Options{Rules: rules, Limits: e.config.egressLimits(), Logger: e.logger, Registerer: e.metrics})
	if err != nil {
		return err
	}
	l.start("egress", e.egress.Serve)
	for _, port := range []int{e.config.Port, e.config.HTTPRedirectPort, e.config.AdminPort} {
		e.egress.Own(port)
	}
	return nil
}

// guardPorts tells the proxy which ports this process listens on.
func (e *environment) guardPorts() {
	if e.egress == nil {
		return
	}
	for _, address := range []string{e.publicURL, e.operatorsURL, e.metricsURL} {
		at, err := url.Parse(address)
		if err != nil {
			continue // not there
		}
		if port, err := strconv.Atoi(at.Port()); err == nil {
			e.egress.Own(port)
		}
	}
}

// noEgress says why functions of a language get no network.
func (e *environment) noEgress(l language) func(registered bool) string {
	return func(registered bool) string {
		switch {
		case l.relayed(e.config):
			return "the code runs at OpenFaaS, which has its own rules for that"
		case !l.hasWorkers():
			return "WebAssembly modules have no network"
		case e.config.Egress == egressOff:
			return "the operator lets no function out (EGRESS=off)"
		case e.egress == nil:
			return sandbox.NoConnect()
		case !registered && e.config.Egress != egressAll:
			return "the operator lets registered functions out only (EGRESS=registered)"
		}
		return ""
	}
}
