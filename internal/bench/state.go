package bench

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"envoke/internal/localdb"
)

// State is what it costs to keep things where they are not lost, and where several machines
// find them: in a PostgreSQL that syncs what it commits, and in Redis, both on this machine.
type State struct {
	Lookups  []Lookups      `json:"lookups"`
	Requests []Requests     `json:"requests"`
	Rows     []Rows         `json:"log_rows"`
	Loaded   Loaded         `json:"log_rows_under_load"`
	Changes  *ChangesReport `json:"changes,omitempty"`
}

// stateLonger is how much longer than the rounds of cases each of its measurements is.
const stateLonger = 4

// Names of what it starts.
const (
	onSQLiteName   = "Envoke on SQLite"
	onPostgresName = "Envoke on PostgreSQL and Redis"
	otherName      = "another Envoke on the same"
	postgresName   = "PostgreSQL"
	redisName      = "Redis"
)

// state is the measurement of a State under way.
type state struct {
	*run
	postgres *localdb.Postgres
	redis    *localdb.Redis
	served   target // an Envoke on both
	State
}

// measureState does nothing unless it is wanted. Without the servers it is missing.
func (r *run) measureState(ctx context.Context) (err error) {
	if !slices.Contains(r.config.Parts, StatePart) || r.config.Envoke == "" {
		return nil
	}
	s := &state{run: r}
	defer func() { err = errors.Join(err, s.close()) }()
	switch err := s.open(ctx); {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		r.stand.missing = append(r.stand.missing, Missing{Case: string(StatePart), Name: StatePart.Title(), Why: err.Error()})
		return nil
	}
	defer r.stand.stopSince(len(r.stand.processes))
	if err := s.measure(ctx); err != nil {
		return fmt.Errorf("measure state: %w", err)
	}
	r.state = &s.State
	return nil
}

// open starts the servers, if they are on this machine.
func (s *state) open(ctx context.Context) error {
	postgresBin, err := localdb.FindPostgres(s.config.CacheDir)
	redisBin, redisErr := localdb.FindRedis(s.config.CacheDir)
	if err := errors.Join(err, redisErr); err != nil {
		return err
	}
	s.config.Progress("starting PostgreSQL and Redis")
	if s.postgres, err = localdb.OpenPostgres(ctx, localdb.PostgresOptions{Bin: postgresBin, Durable: true}); err != nil {
		return err
	}
	s.redis, err = localdb.OpenRedis(ctx, redisBin)
	return err
}

func (s *state) close() (err error) {
	if s.redis != nil {
		err = s.redis.Close()
	}
	if s.postgres != nil {
		err = errors.Join(err, s.postgres.Close())
	}
	return err
}

func (s *state) measure(ctx context.Context) error {
	for _, measure := range []func(context.Context) error{s.measureInside, s.measureServes, s.measureChanges} {
		if err := measure(ctx); err != nil {
			return err
		}
	}
	return nil
}

// duration is that of one measurement.
func (s *state) duration() time.Duration { return stateLonger * s.config.Duration }

// measureInside measures what is asked inside a control: this process is one then, and uses
// all cores as it does.
func (s *state) measureInside(ctx context.Context) error {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(runtime.NumCPU()))
	stores, err := s.openStores(ctx)
	if err != nil {
		return err
	}
	err = s.measureLookups(ctx, stores)
	if err == nil {
		err = s.measureRows(ctx, stores)
	}
	return errors.Join(err, stores.close())
}

// measureServes measures Envoke on each store, through Envoy.
func (s *state) measureServes(ctx context.Context) error {
	defer s.stand.stopSince(len(s.stand.processes))
	if err := s.measureInitializes(ctx); err != nil {
		return err
	}
	return s.measureLoaded(ctx)
}

// roots are those of the stand, and the servers.
func (s *state) roots() []root {
	return append(s.stand.roots(),
		root{pid: s.postgres.PID(), group: group{postgresName, Other}}, root{pid: s.redis.PID(), group: group{redisName, Other}})
}

// missed are the targets that are.
func (s *State) missed() (missed []string) {
	if s.Loaded.missed() {
		missed = append(missed, "log rows under load")
	}
	if s.Changes != nil {
		missed = append(missed, s.Changes.missed()...)
	}
	return missed
}
