package main

import (
	"errors"
	"slices"

	"github.com/spf13/pflag"

	"envoke/internal/mtls"
)

// settings are a Config with the flags of all its settings, of which a subcommand
// shows those that mean something to it. The environment and the config file are
// shared by all parts, so there every setting is known.
type settings struct {
	config *Config
	all    *pflag.FlagSet
	names  []string // of the flags shown; nil: all
}

func newSettings(names []string) settings {
	s := settings{config: &Config{}, all: pflag.NewFlagSet("settings", pflag.ContinueOnError), names: names}
	s.config.bind(s.all)
	return s
}

// has tells whether a setting means something to the subcommand.
func (s settings) has(name string) bool {
	return s.names == nil || slices.Contains(s.names, name) || slices.Contains(flagsOfEach, name)
}

// The flags of the parts of an installation; serve has all of them.
var (
	flagsOfEach = []string{"config", "admin-port", "run-dir", "log-level", "log-format"}

	flagsOfControl = append(slices.Concat(flagsOfLanguages(), flagsOfDoor, flagsOfEdge, flagsOfCluster, flagsOfOpenFaaS, flagsOfLink.control),
		"host", "port", "insecure-public", "data-dir", "database-url", "redis-url", "redis-cache-url", "admin-key", "secrets-key-file", "db-logging-enabled", "log-retention-hours", "log-waiting-mb", "access-log",
		"runtime-timeout-seconds", "runtime-max-requests", "request-timeout-seconds",
		"max-script-size", "max-module-size", "filter", "cache-memory-mb", "runtime-selection-strategy", "runtime-mappings-file", "routes-file",
	)
	flagsOfHosts = append(slices.Concat(flagsOfLink.host, flagsOfRelay),
		"cache-dir", "session-expiry-seconds", "runtime-timeout-seconds", "build-wait-ms", "worker-concurrency", "queue-wait-ms", "worker-memory-mb", "worker-cpu-ms",
		"log-payloads", "log-payload-bytes", "log-mask-keys",
	)
	flagsOfPools = []string{
		"max-script-size", "script-timeout-ms", "idle-workers", "max-workers", "worker-queue", "worker-idle-seconds",
		"worker-scratch-mb", "worker-max-calls", "worker-max-minutes", "stream-timeout-seconds", "sandbox",
		"egress", "egress-allow", "egress-deny", "egress-max-connections", "egress-worker-connections", "egress-idle-seconds", "dependencies",
	}
	flagsOfEnvoy = append(slices.Clone(flagsOfLink.envoy), "cache-dir", "python", "envoy", "envoy-concurrency", "drain-timeout-seconds")
)

// flagsOfLanguages tell control which languages there are, and where.
func flagsOfLanguages() (flags []string) {
	for _, l := range languages() {
		flags = append(flags, l.hostsFlag())
		if l.Optional() && l.interpreted != nil {
			flags = append(flags, l.interpreted.setting)
		}
	}
	return flags
}

// flagsOfHost are those of one language's host: another's interpreter is not its own.
func flagsOfHost(l language) []string {
	if l.interpreted == nil {
		return slices.Concat(flagsOfHosts, l.flags)
	}
	return slices.Concat(flagsOfHosts, flagsOfPools, l.flags, []string{l.interpreted.setting})
}

// checkPart refuses what the part lacks or cannot have, where parts are on several machines.
func (s settings) checkPart(c *Config) []error {
	switch {
	case !c.remote() && c.discovers() && (s.names == nil || s.has("control-listen")):
		return []error{errors.New("RUNTIME_SELECTION_STRATEGY is discovery, which finds hosts on other machines: set CONTROL_LISTEN and CONTROL_ADDRESSES (docs/kubernetes.md), or say prefix or config")}
	case !c.remote():
		return nil
	case s.names == nil:
		return []error{errors.New("serve runs all on this machine, although parts on other machines are configured: run `envoke control`, `envoke runtime` and `envoke envoy`, or unset CONTROL_LISTEN, CONTROL_ADDRESSES and HOST_LISTEN")}
	case s.has("control-listen"):
		return append(checkRemoteControl(c), c.checkCertificate(mtls.Control)...)
	case s.has("host-listen"):
		return append(checkRemoteHost(c), c.checkCertificate(mtls.Host)...)
	case s.has("node-id"):
		return c.checkCertificate(mtls.Envoy)
	}
	return nil
}

// keepsData tells whether the part uses the data folder. Where an Envoy shares its machine with
// control, that one does.
func (s settings) keepsData() bool {
	return s.has("data-dir") && (s.names == nil || !s.has("node-id") || s.config.ControlAddresses != "")
}

// show adds the flags to a subcommand's.
func (s settings) show(f *pflag.FlagSet) {
	s.all.VisitAll(func(flag *pflag.Flag) {
		if s.has(flag.Name) {
			f.AddFlag(flag)
		}
	})
}
