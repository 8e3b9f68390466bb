package bench

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// stand is everything that a run measures.
type stand struct {
	config    Config
	dir       string // short: Unix sockets allow paths of 107 bytes
	folders   int    // given out so far
	processes []*process
	wanted    []Case
	endpoints map[string]Endpoint // by the key of a case
	filtered  target              // our Envoke, whose filter may answer
	missing   []Missing
}

// Missing is a case that was to be measured and could not be.
type Missing struct {
	Case string `json:"case"`
	Name string `json:"name"`
	Why  string `json:"why"`
}

func newStand(config Config, dir string) *stand {
	return &stand{config: config, dir: dir, wanted: wantedCases(config), endpoints: make(map[string]Endpoint)}
}

// wantedCases are those that are to be measured.
func wantedCases(config Config) []Case {
	wanted := casesOf(config.Parts)
	if config.Envoke == "" {
		wanted = slices.DeleteFunc(wanted, func(c Case) bool { return isOurs(c.Key) })
	}
	return wanted
}

// start starts all that the wanted cases need.
func (s *stand) start(ctx context.Context) error {
	s.config.Progress("starting the servers to compare with, and Envoy")
	if err := s.startBare(ctx); err != nil {
		return err
	}
	if s.config.Envoke == "" {
		return nil
	}
	s.config.Progress("starting " + s.config.Envoke)
	return s.startOurs(ctx)
}

// newDir is the path of a folder that nothing else has.
func (s *stand) newDir() string {
	s.folders++
	return filepath.Join(s.dir, strconv.Itoa(s.folders))
}

// wants tells whether one of the cases is to be measured.
func (s *stand) wants(keys ...string) bool {
	return slices.ContainsFunc(s.wanted, func(c Case) bool { return slices.Contains(keys, c.Key) })
}

// miss gives up wanted cases.
func (s *stand) miss(why error, keys ...string) {
	for _, c := range s.wanted {
		if slices.Contains(keys, c.Key) {
			s.missing = append(s.missing, Missing{Case: c.Key, Name: c.Name, Why: why.Error()})
		}
	}
}

// cases are those that can be measured.
func (s *stand) cases() []Case {
	return slices.DeleteFunc(slices.Clone(s.wanted), func(c Case) bool {
		_, ok := s.endpoints[c.Key]
		return !ok
	})
}

// roots are the processes that are accounted, the load generator as the last.
func (s *stand) roots() []root {
	roots := make([]root, 0, len(s.processes)+1)
	for _, p := range s.processes {
		roots = append(roots, root{pid: p.cmd.Process.Pid, group: p.group})
	}
	return append(roots, root{pid: os.Getpid(), group: generator, alone: true})
}

// stopLast ends the process that was started last.
func (s *stand) stopLast() {
	last := len(s.processes) - 1
	s.processes[last].stop()
	s.processes = s.processes[:last]
}

// stopSince ends, together, all but the first n processes.
func (s *stand) stopSince(n int) {
	for _, p := range s.processes[n:] {
		p.cancel()
	}
	for _, p := range s.processes[n:] {
		p.stop()
	}
	s.processes = s.processes[:n]
}

// stop ends the processes, the last started first.
func (s *stand) stop() {
	for _, p := range slices.Backward(s.processes) {
		p.stop()
	}
}

// run starts a process and waits until it is ready; one that is not is stopped.
func (s *stand) run(ctx context.Context, of group, argv []string, ready func() error) error {
	p, err := startProcess(ctx, of, argv)
	if err != nil {
		return err
	}
	if err := p.waitFor(ctx, ready); err != nil {
		p.stop()
		return err
	}
	s.processes = append(s.processes, p)
	return nil
}

func loopback(port string) string { return net.JoinHostPort("127.0.0.1", port) }

// freePorts are ports of 127.0.0.1 that nobody listened on a moment ago.
func freePorts(ctx context.Context, n int) (ports []string, err error) {
	for range n {
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", loopback("0"))
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		defer func() { _ = listener.Close() }() // all at the end: no port twice
		_, port, err := net.SplitHostPort(listener.Addr().String())
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		ports = append(ports, port)
	}
	return ports, nil
}
