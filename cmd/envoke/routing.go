package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/pflag"

	"envoke/internal/faas"
	"envoke/internal/routing"
	"envoke/xds"
	"envoke/xds/static"
)

const (
	// configTimeout bounds one question to the store for the config.
	configTimeout = 5 * time.Second
	// configPause is how long a store that is away is left alone.
	configPause = time.Second
)

// Declared are settings of routes that operators declare.
type Declared struct {
	RoutesFile string
}

func (c *Config) bindRoutes(f *pflag.FlagSet) {
	f.StringVar(&c.RoutesFile, "routes-file", "", "file of upstreams and routes to them, or folder of such files, or several with commas between: read again when they change (docs/routing.md); empty: none")
}

// exposed tells whether others than this machine can call, and nobody checks them.
func (c *Config) exposed() bool {
	return !c.Auth && !net.ParseIP(c.Host).IsLoopback() // it was checked
}

// routesFiles are those of ROUTES_FILE.
func (c *Config) routesFiles() (paths []string) {
	for path := range strings.SplitSeq(c.RoutesFile, ",") {
		if path = strings.TrimSpace(path); path != "" {
			paths = append(paths, path)
		}
	}
	return paths
}

// checkRoutesFiles looks at the files of routes, in the part that reads them.
func (s settings) checkRoutesFiles(c *Config) (faults []error) {
	if !s.has("routes-file") || len(c.routesFiles()) == 0 {
		return nil
	}
	for _, fault := range static.Check(c.routesFiles()) {
		faults = append(faults, fmt.Errorf("ROUTES_FILE: %w", fault))
	}
	return faults
}

// declaredRoutes are what all sources declare, and what has become of it.
type declaredRoutes struct {
	sources *routing.Sources
	files   *static.Watcher // nil: no source
	current func(context.Context) (faas.Config, error)
	envoys  func() xds.Status
	// republish tells Envoy all anew.
	republish func(context.Context) error
	logger    *slog.Logger

	declared atomic.Int64  // counts what sources have said
	changed  chan struct{} // holds a token when Envoy is to be told
	again    chan struct{} // holds a token when the store has another config

	loading sync.Mutex // one reads the config after the other
	mu      sync.Mutex // guards what follows
	taken   int        // the version of the config that this control has taken; 0: none
	given   int64      // of declared, what Envoy was told of last
	since   time.Time  // when
	served  routing.Routing
	fault   error // why what is declared is not served
}

// openRoutes reads what files and the store declare. Faults of the files end the start.
func (c *control) openRoutes(ctx context.Context, e *environment) (err error) {
	r := &declaredRoutes{
		current: c.store.CurrentConfig, envoys: c.xds.Status, logger: e.logger,
		republish: func(ctx context.Context) error { return c.republish(ctx, e) },
		changed:   make(chan struct{}, 1), again: make(chan struct{}, 1),
	}
	c.routes = r
	r.sources = routing.NewSources(func() {
		r.declared.Add(1)
		wake(r.changed)
	})
	e.metrics.MustRegister(r.sources)
	if paths := e.config.routesFiles(); len(paths) > 0 {
		if r.files, err = static.Open(static.Options{Paths: paths, Sources: r.sources, Logger: e.logger}); err != nil {
			return fmt.Errorf("ROUTES_FILE: %w", err)
		}
	}
	return r.load(ctx)
}

func wake(token chan struct{}) {
	select {
	case token <- struct{}{}:
	default: // there is one already
	}
}

// start has files and the store followed.
func (r *declaredRoutes) start(l *lifecycle) {
	l.start("routes", r.serve)
	if r.files != nil {
		l.start("files of routes", r.files.Serve)
	}
}

// serve tells Envoy of what is declared, and reads the config that others have put.
func (r *declaredRoutes) serve(ctx context.Context) error {
	var later <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.changed:
			if err := r.republish(ctx); err != nil && ctx.Err() == nil {
				r.logger.ErrorContext(ctx, "cannot tell Envoy of the routes that are declared", "error", err)
			}
			continue
		case <-r.again:
		case <-later:
		}
		if later = nil; r.load(ctx) != nil {
			later = time.After(configPause)
		}
	}
}

// heard takes what some control has changed.
func (r *declaredRoutes) heard(c faas.Change) {
	if c.Config || c.All || c.Began { // before it began, nobody was told
		wake(r.again)
	}
}

// ConfigChanged implements api.Routes.
func (r *declaredRoutes) ConfigChanged(ctx context.Context) {
	if err := r.load(ctx); err != nil {
		r.logger.WarnContext(ctx, "read the config that was put: it is tried again", "error", err)
		wake(r.again)
	}
}

// load takes the current version of the config, if it is another than before.
func (r *declaredRoutes) load(ctx context.Context) error {
	r.loading.Lock()
	defer r.loading.Unlock()
	ctx, cancel := context.WithTimeout(ctx, configTimeout)
	defer cancel()
	c, err := r.current(ctx)
	if err != nil && !faas.IsNotFound(err) {
		return fmt.Errorf("read the config: %w", err)
	}
	r.mu.Lock()
	same := r.taken == c.Version
	r.mu.Unlock()
	if same {
		return nil
	}
	if c.Version == 0 {
		c.Document = "{}"
	}
	// Files that are named were looked at when it was put: a start needs none of them.
	declared, faults := routing.ParseAll(routing.Checks{}, routing.Text{Raw: []byte(c.Document)})
	if len(faults) > 0 {
		r.logger.ErrorContext(ctx, "the config in the store has faults, as this version sees it: what was served before stays",
			"version", c.Version, "faults", len(faults), "error", faults[0])
		r.sources.Refuse(routing.FromAPI, faults)
	} else {
		r.sources.Set(routing.FromAPI, declared, nil)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.taken = c.Version
	return nil
}

// publish tells Envoy of what is declared. Where that cannot be told, and what was declared
// before can, that stays: whatever else has changed is not to wait for it.
func (r *declaredRoutes) publish(tell func(routing.Routing) error) error {
	count := r.declared.Load()
	merged := r.sources.Merged()
	r.mu.Lock()
	defer r.mu.Unlock()
	if count != r.given {
		r.given, r.since = count, time.Now()
	}
	err := tell(merged)
	if err == nil {
		r.served, r.fault = merged, nil
		return nil
	}
	if reflect.DeepEqual(merged, r.served) || tell(r.served) != nil {
		return err // which is about something else
	}
	r.fault = err
	r.logger.Error("what is declared cannot be told to Envoy: the routes before stay", "error", err)
	return nil
}

// Standing implements api.Routes.
func (r *declaredRoutes) Standing() routing.Standing {
	s := routing.Standing{State: routing.Pending, Sources: r.sources.Status()}
	r.mu.Lock()
	defer r.mu.Unlock()
	s.Version = r.taken
	for _, source := range s.Sources {
		if source.Source == routing.FromAPI && source.Refused {
			s.State, s.Message = routing.Refused, routing.Faults(source.Faults).Error()
			return s
		}
	}
	switch {
	case r.given != r.declared.Load():
	case r.fault != nil:
		s.State, s.Message = routing.Refused, r.fault.Error()
	default:
		s.State, s.Message = verdict(r.envoys(), r.since)
	}
	return s
}

// verdict is what Envoys have made of what they were told then.
func verdict(envoys xds.Status, since time.Time) (routing.State, string) {
	nack := envoys.Nack
	switch {
	case len(envoys.Refused) > 0: // kept apart; all else is served
		var told []string
		for _, r := range envoys.Refused {
			told = append(told, fmt.Sprintf("Envoy %s has refused %s: %s", r.Node, r.Name, r.Message))
		}
		return routing.Refused, strings.Join(told, "\n")
	case len(envoys.Waiting) > 0:
		return routing.Pending, ""
	case nack != nil && !nack.Time.Before(since) && nack.Type != "filter":
		return routing.Refused, fmt.Sprintf("Envoy %s has refused a %s: %s", nack.Node, nack.Type, nack.Message)
	case len(envoys.Nodes) == 0:
		return routing.Pending, ""
	}
	for _, node := range envoys.Nodes {
		if !node.Synced {
			return routing.Pending, ""
		}
	}
	return routing.Live, ""
}

// status is what operators see under /debug/xds.
func (r *declaredRoutes) status() any {
	return struct {
		xds.Status

		Routing []routing.SourceStatus `json:"routing"`
	}{r.envoys(), r.sources.Status()}
}
