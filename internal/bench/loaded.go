package bench

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"envoke/internal/accesslog"
	"envoke/internal/faas"
)

// Loaded are rows of the request log that are committed in PostgreSQL while the Envoke which
// stores them answers 32 connections, on the same cores. They are of those requests and of
// files that another Envoy could have written before.
type Loaded struct {
	PerSecond float64 `json:"rows_per_second"`
	// Alone is what the load is answered while only its own rows are stored, before and
	// after; Meanwhile, while the files are read too.
	Alone     Spread  `json:"requests_per_second_alone"`
	Meanwhile float64 `json:"requests_per_second"`
	// CPUs are those that each took meanwhile, also those that are no part of the benchmark.
	CPUs map[string]float64 `json:"cpus"`
}

// rowsLeast is what the design asks for, a second.
const rowsLeast = 20_000

func (l Loaded) missed() bool { return l.PerSecond < rowsLeast }

const (
	loadedSegment = 500 * time.Millisecond // after which it is looked what was stored
	// loadedRows is how many lines there are for each second: more than are stored beside the
	// load's own.
	loadedRows = 40_000
	// loadedRest bounds the wait until what is left is stored.
	loadedRest = 40 * time.Second
)

// otherPrograms are all that are no part of the benchmark.
const otherPrograms = "other programs"

const rowsStored = "envoke_accesslog_rows_total"

// measureLoaded puts a load on the Envoke that has PostgreSQL, and then files into the folder
// of its log.
func (s *state) measureLoaded(ctx context.Context) error {
	s.config.Progress("storing rows of the log under load")
	sessions := make([]faas.SessionID, rowsSessions)
	for i := range sessions {
		id, err := initialize(ctx, s.served.address, functions()[0].title, functions()[0].members(functions()[0].source))
		if err != nil {
			return err
		}
		sessions[i] = faas.SessionID(id)
	}
	endpoint := Endpoint{Network: "tcp", Address: s.served.address, Path: "/api/v1/execute/" + string(sessions[0])}
	alone := Load{Connections: stateConnections, Duration: s.duration() / 2}
	if _, err := measure(ctx, endpoint, Load{Connections: stateConnections, Duration: s.config.WarmUp}); err != nil {
		return err
	}
	rates := make([]float64, 0, 2)
	for i := range 2 {
		if err := s.stored(ctx); err != nil {
			return err
		}
		o, err := measure(ctx, endpoint, alone)
		if err != nil {
			return err
		}
		rates = append(rates, o.requestsPerSecond())
		if i > 0 {
			break
		}
		if err := s.storeUnderLoad(ctx, endpoint, sessions); err != nil {
			return err
		}
	}
	s.Loaded.Alone = spreadOf(rates)
	return nil
}

// stored waits until all lines of the log are rows.
func (s *state) stored(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, loadedRest)
	defer cancel()
	poll := time.NewTicker(settlePoll)
	defer poll.Stop()
	for quiet, rows := 0, -1.0; quiet < 2*quietPolls; { // Envoy writes its log each 100 ms
		now, err := readMetric(ctx, s.served.operators, rowsStored)
		if err != nil {
			return err
		}
		if quiet++; now != rows {
			quiet, rows = 0, now
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait until all rows are stored: %w", ctx.Err())
		case <-poll.C:
		}
	}
	return nil
}

// layDown puts a file into the folder of the log that is older than the one that Envoy writes,
// and so is read to its end first.
func (s *state) layDown(sessions []faas.SessionID) (name string, err error) {
	log := filepath.Join(s.served.dataDir, "log", "access.log")
	name = accesslog.SampleName(log, 1)
	lines := accesslog.SampleLines(int(loadedRows*s.duration().Seconds()), sessions)
	hidden := filepath.Join(s.served.dataDir, "log", "laid-down")
	if err := errors.Join(os.WriteFile(hidden, lines, 0o600), os.Rename(hidden, name)); err != nil {
		return "", fmt.Errorf("write a file of the log: %w", err)
	}
	return name, nil
}

// storeUnderLoad counts as long as there is something of the file left to be read.
func (s *state) storeUnderLoad(ctx context.Context, endpoint Endpoint, sessions []faas.SessionID) error {
	ctx, cancel := context.WithTimeout(ctx, s.duration()+stallTimeout)
	defer cancel()
	connections, err := connect(ctx, dialWaiting, endpoint, stateConnections)
	defer func() {
		for _, c := range connections {
			c.close()
		}
	}()
	if err != nil {
		return err
	}
	file, err := s.layDown(sessions)
	if err != nil {
		return err
	}
	c := counted{state: s}
	if err := c.look(ctx); err != nil {
		return err
	}
	first := c
	for c.at.Sub(first.at) < s.duration() {
		if err := closedLoop(ctx, connections, time.Now().Add(min(loadedSegment, s.duration()/4))); err != nil {
			return err
		}
		if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) && c.at != first.at {
			break // it ended within this segment
		}
		c.requests = 0
		for _, connection := range connections {
			c.requests += len(connection.latencies)
		}
		if err := c.look(ctx); err != nil {
			return err
		}
	}
	s.Loaded = c.since(first)
	s.otherLoad = append(s.otherLoad, s.Loaded.CPUs[otherPrograms])
	return nil
}

// counted is what was stored, answered and spent up to one moment.
type counted struct {
	state    *state
	at       time.Time
	rows     float64
	requests int
	cpu      cpuTimes
	busy     time.Duration // of the whole machine
}

func (c *counted) look(ctx context.Context) (err error) {
	if c.rows, err = readMetric(ctx, c.state.served.operators, rowsStored); err != nil {
		return err
	}
	u, err := c.state.fs.read(c.state.roots())
	if err != nil {
		return err
	}
	u.cpu[generator] = ownCPU()
	c.cpu, c.at = u.cpu, time.Now()
	c.busy, err = c.state.fs.readBusy()
	return err
}

func (c *counted) since(first counted) Loaded {
	seconds := c.at.Sub(first.at).Seconds()
	l := Loaded{
		PerSecond: (c.rows - first.rows) / seconds, Meanwhile: float64(c.requests-first.requests) / seconds,
		CPUs: make(map[string]float64),
	}
	others := c.busy - first.busy - c.cpu.sub(first.cpu).sum()
	l.CPUs[otherPrograms] = max(0, others.Seconds()/seconds)
	for g, spent := range c.cpu.sub(first.cpu) {
		switch g.of {
		case postgresName, redisName, generator.of:
			l.CPUs[g.of] += spent.Seconds() / seconds
		case onPostgresName:
			l.CPUs[string(g.role)] += spent.Seconds() / seconds
		}
	}
	return l
}
