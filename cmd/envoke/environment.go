package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"envoke/envoy"
	"envoke/internal/faas"
	"envoke/internal/logs"
	"envoke/internal/selection"
	"envoke/runtimes/egress"
	"envoke/runtimes/pool"
	"envoke/runtimes/sandbox"
	"envoke/xds/kube"
)

// environment is what the subcommands build their components from.
type environment struct {
	config  *Config
	sockets sockets
	workers string // folder of what workers see; empty where there are none
	groups  *sandbox.Groups
	logger  *slog.Logger
	level   *slog.LevelVar // of the logger
	metrics *prometheus.Registry
	// mappings map functions' names to languages; nil: names begin with theirs.
	mappings *selection.Mappings
	// hosts are those of the cluster, by which names mean languages too; nil: there is none.
	hosts  *kube.Hosts
	envoy  *envoy.Process // the child, or what stands for one that somebody else runs
	egress *egress.Proxy  // nil: no function has a network
	// operatorsURL is where the operators' port listens, once it does, metricsURL the one for
	// metrics alone; publicURL is Envoy's public listener.
	operatorsURL, metricsURL, publicURL string
	// ownKey is an API key of this process's own calls, which nobody else is told.
	ownKey string

	output logs.Output // what functions print, for operators
	// print takes what functions print. Nil: it goes to the logger.
	print func(pool.LogLine)
}

// newEnvironment loads and checks the settings and makes the folders. The returned
// function removes what must not outlive the process.
func newEnvironment(s streams, given settings) (*environment, func(), error) {
	config := given.config
	if err := config.load(given.all, s.getenv, given.checkPart, given.checkPublicFiles, given.checkRoutesFiles); err != nil {
		return nil, nil, err
	}
	logger, level, err := newLogger(s.stderr, config.LogLevel, config.LogFormat)
	if err != nil {
		return nil, nil, err
	}
	mappings, err := config.mappings()
	if err != nil {
		return nil, nil, err
	}
	if err := makeFolders(given); err != nil {
		return nil, nil, err
	}
	sockets, remove, err := openSockets(config.RunDir)
	if err != nil {
		return nil, nil, err
	}
	workers := ""
	var groups *sandbox.Groups
	if given.has("sandbox") {
		dir, removeWorkers, err := openWorkers()
		if err != nil {
			remove()
			return nil, nil, err
		}
		removeSockets := remove
		workers, remove = dir, func() { removeSockets(); removeWorkers() }
		groups = sandbox.OpenGroups()
		logger.Debug("workers' control groups", "folder", groups.Folder(), "missing", groups.Missing())
	}
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return &environment{
		ownKey: "ek_own_" + rand.Text(),
		config: config, sockets: sockets, workers: workers, groups: groups, logger: logger, level: level, metrics: metrics, mappings: mappings,
	}, remove, nil
}

// makeFolders makes those of the settings' folders that the part uses, for this user
// only.
func makeFolders(given settings) error {
	var folders []string
	if given.keepsData() {
		folders = append(folders, given.config.DataDir, filepath.Dir(given.config.accessLogPath()))
	}
	if given.has("cache-dir") {
		folders = append(folders, given.config.CacheDir)
	}
	for _, folder := range folders {
		if err := makeFolder(folder); err != nil {
			return err
		}
	}
	if !given.keepsData() {
		return nil
	}
	return closeFolder(filepath.Dir(given.config.accessLogPath()))
}

// closeFolder keeps others out of a folder that may have been made by other hands:
// Envoy makes its log's files readable for all, and they hold callers' paths and
// addresses. A group that was let in, such as a log shipper's, stays.
func closeFolder(path string) error {
	stat, err := os.Stat(path)
	if err != nil || stat.Mode().Perm()&0o007 == 0 {
		return err
	}
	return os.Chmod(path, stat.Mode().Perm()&^0o007)
}

func makeFolder(path string) error {
	err := os.MkdirAll(path, 0o700)
	if err == nil {
		err = writable(path)
	}
	switch {
	case errors.Is(err, syscall.EROFS), errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("the folder %s cannot be written: give another with --data-dir or --cache-dir, or make this one writable", path)
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, fs.ErrExist):
		return fmt.Errorf("%s is in the way of a folder: remove it, or give another place with --data-dir or --cache-dir", path)
	case err != nil:
		return fmt.Errorf("make folder %s: %w", path, err)
	}
	return nil
}

// writable tries it: permissions alone do not tell of a read-only file system.
func writable(dir string) error {
	f, err := os.CreateTemp(dir, ".envoke-*")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// findEnvoy makes the child Envoy: of the operator's own binary, or of the pinned
// one from the cache, fetched where it is missing.
func (e *environment) findEnvoy(ctx context.Context, progress io.Writer) (err error) {
	binary := e.config.Envoy
	if binary != "" {
		err = envoy.Check(ctx, binary)
	} else {
		if !envoy.Cached(ctx, e.config.CacheDir) {
			fmt.Fprintf(progress, "Fetching Envoy %s (37 MB) into %s …\n", envoy.Version, e.config.CacheDir)
		}
		binary, err = envoy.Fetch(ctx, e.config.CacheDir, valueOf(e.config.Interpreters[faas.Python]))
	}
	if err != nil {
		return err
	}
	return e.newEnvoy(binary)
}

// newEnvoy makes the process; one that is never served stands for an Envoy that
// somebody else runs with our admin socket.
func (e *environment) newEnvoy(binary string) error {
	o := envoy.Options{
		Binary: binary, Dir: e.sockets.dir, Concurrency: e.config.EnvoyConcurrency, Logger: e.logger,
		Bootstrap: envoy.Bootstrap{
			NodeID: defaultNode, ControlSocket: e.sockets.control(), AdminSocket: e.sockets.admin(),
		},
	}
	if err := e.remoteEnvoy(&o); err != nil {
		return err
	}
	e.envoy = envoy.New(o)
	return nil
}

func (e *environment) startEnvoy(l *lifecycle) {
	timeout := time.Duration(e.config.DrainTimeoutSeconds) * time.Second
	l.start("envoy", func(ctx context.Context) error { return drainEnvoy(ctx, e.envoy, timeout, e.logger) })
}
