package main

import (
	"slices"

	"github.com/spf13/pflag"

	"envoke/internal/faas"
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

	flagsOfControl = []string{
		"host", "port", "insecure-public", "data-dir", "database-url", "db-logging-enabled", "log-retention-hours",
		"nodejs-runtime-url", "python-runtime-url", "rust-runtime-url", "runtime-timeout-seconds", "runtime-max-requests", "request-timeout-seconds",
		"max-script-size", "max-module-size", "filter", "cache-memory-mb", "runtime-selection-strategy", "runtime-mappings-file",
	}
	flagsOfHosts = []string{
		"cache-dir", "session-expiry-seconds", "runtime-timeout-seconds", "worker-concurrency", "worker-memory-mb", "worker-cpu-ms",
	}
	flagsOfPools = []string{
		"max-script-size", "script-timeout-ms", "idle-workers", "max-workers", "worker-queue", "worker-idle-seconds",
		"worker-scratch-mb", "worker-max-calls", "worker-max-minutes", "stream-timeout-seconds", "sandbox",
		"egress", "egress-allow", "egress-deny", "dependencies",
	}
	flagsOfEnvoy = []string{"cache-dir", "python", "envoy", "envoy-concurrency", "drain-timeout-seconds"}
)

// flagsOfHost are those of one language's host: another's interpreter is not its own.
func flagsOfHost(language faas.Language) []string {
	switch language {
	case faas.NodeJS:
		return slices.Concat(flagsOfHosts, flagsOfPools, []string{"node", "npm-registry"})
	case faas.Python:
		return slices.Concat(flagsOfHosts, flagsOfPools, []string{"python", "pip-index-url"})
	case faas.Rust:
		return slices.Concat(flagsOfHosts, []string{"max-script-size", "max-module-size", "wasm-compile-timeout-seconds", "rustc", "sandbox"})
	}
	return flagsOfHosts
}

// show adds the flags to a subcommand's.
func (s settings) show(f *pflag.FlagSet) {
	s.all.VisitAll(func(flag *pflag.Flag) {
		if s.has(flag.Name) {
			f.AddFlag(flag)
		}
	})
}
