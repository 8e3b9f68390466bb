package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
)

// Functions is how many there are of each kind.
type Functions struct {
	Python, Nodejs int // resident
	Hot            int // of the Python ones
	Registered     int // beside them, that nobody has called
	Called         int // of those
}

// FunctionsOf are in the proportions of the design's targets, which are of 1,000 Python
// functions. n is at least 20.
func FunctionsOf(n int) Functions {
	return Functions{Python: n, Nodejs: n * 2 / 5, Hot: n / 10, Registered: n * 10, Called: n / 20}
}

const (
	densityRounds = 3 // of the hot functions, alone and among all
	hotDuration   = time.Second
)

// Targets of the design.
const (
	densityMost = 10_000 << 20 // bytes of all processes, by equal parts of what they share
	hotLeast    = 0.9          // of what the hot functions answer alone
)

// densitySpare is the workers beside the resident ones, for what is called once.
const densitySpare = 100

const densityTitle = "Many functions of one Envoke: each resident in a worker of its own, the hot ones under load, then cold ones of those registered"

// Density is what many functions cost.
type Density struct {
	Python int `json:"python_functions"`
	Nodejs int `json:"nodejs_functions"`
	// PSS is what all processes of this Envoke hold, in bytes, with what processes share
	// counted by equal parts; PythonPSS and NodejsPSS are what one more function adds.
	PSS       int64 `json:"pss_bytes"`
	PythonPSS int64 `json:"python_pss_bytes"`
	NodejsPSS int64 `json:"nodejs_pss_bytes"`
	// Alone and Among are what the hot functions answer a second, before the others are
	// resident and beside them.
	Alone Spread `json:"hot_alone_requests_per_second"`
	Among Spread `json:"hot_among_requests_per_second"`

	Registered int     `json:"registered_functions"`
	ColdP50    float64 `json:"cold_p50_ms"` // the first call of some of the registered
	ColdP99    float64 `json:"cold_p99_ms"`
}

func (d *Density) missed() (missed []string) {
	if d.PSS > densityMost {
		missed = append(missed, "density")
	}
	if d.hot() < hotLeast {
		missed = append(missed, "hot functions")
	}
	return missed
}

func (d *Density) hot() float64 { return d.Among.Median / d.Alone.Median }

func (d *Density) table() *table {
	t := &table{text: 1}
	t.add("", "", "target", "")
	row := func(name, figure, target string, missed bool) {
		verdict := ""
		if target != "" {
			verdict = metOr(missed)
		}
		t.add(name, figure, target, verdict)
	}
	row("resident Python, Node.js functions", fmt.Sprintf("%d, %d", d.Python, d.Nodejs), "", false)
	row("PSS of all processes, MiB", mebibytes(d.PSS), "≤ "+mebibytes(densityMost), d.PSS > densityMost)
	row("one more Python, Node.js function, MiB", number(float64(d.PythonPSS)/(1<<20), 1)+", "+number(float64(d.NodejsPSS)/(1<<20), 1), "", false)
	row("the hot functions alone, requests/s", rate(d.Alone.Median), "", false)
	row("the hot functions among all, requests/s", rate(d.Among.Median), "", false)
	row("among all / alone", number(d.hot(), 2), fmt.Sprintf("≥ %.2f", hotLeast), d.hot() < hotLeast)
	row("functions registered beside them", strconv.Itoa(d.Registered), "", false)
	row("first call of one of those, p50 and p99 ms", number(d.ColdP50, 1)+", "+number(d.ColdP99, 1), "", false)
	return t
}

// many is the measurement of a Density under way.
type many struct {
	*run
	ours target
	Density
}

// measureMany does nothing unless it is wanted.
func (r *run) measureMany(ctx context.Context) error {
	if !slices.Contains(r.config.Parts, Many) || r.config.Envoke == "" {
		return nil
	}
	r.config.Progress("starting an Envoke for many functions")
	ours, err := r.stand.startEnvoke(ctx, manyName, "--worker-idle-seconds", "3600",
		"--max-workers", strconv.Itoa(max(r.config.Many.Python, r.config.Many.Nodejs)+densitySpare))
	if err != nil {
		return err
	}
	m := many{run: r, ours: ours}
	if err := m.measure(ctx); err != nil {
		return fmt.Errorf("measure many functions: %w", err)
	}
	r.density = &m.Density
	return nil
}

func (m *many) measure(ctx context.Context) error {
	python, nodejs, n := functions()[1], functions()[0], m.config.Many
	hot, err := m.makeResident(ctx, python, n.Hot)
	if err != nil {
		return err
	}
	if m.Alone, err = m.load(ctx, hot); err != nil {
		return err
	}
	start, err := m.pss()
	if err != nil {
		return err
	}
	if _, err := m.makeResident(ctx, python, n.Python-n.Hot); err != nil {
		return err
	}
	withPython, err := m.pss()
	if err != nil {
		return err
	}
	if _, err := m.makeResident(ctx, nodejs, n.Nodejs); err != nil {
		return err
	}
	if m.PSS, err = m.pss(); err != nil {
		return err
	}
	m.Python, m.Nodejs = n.Python, n.Nodejs
	m.PythonPSS = (withPython - start) / int64(n.Python-n.Hot)
	m.NodejsPSS = (m.PSS - withPython) / int64(n.Nodejs)
	if m.Among, err = m.load(ctx, hot); err != nil {
		return err
	}
	return m.registerAndCall(ctx, python)
}

// makeResident makes sessions of so many different functions, which load them.
func (m *many) makeResident(ctx context.Context, f function, n int) ([]string, error) {
	m.config.Progress(fmt.Sprintf("making %d %s functions resident", n, f.host))
	ids := make([]string, n)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(4)
	for i := range n {
		group.Go(func() (err error) {
			ids[i], err = initialize(ctx, m.ours.address, f.title, f.unseen(fmt.Sprintf("resident-%d-%d", n, i)))
			return err
		})
	}
	return ids, group.Wait()
}

// load asks each of the functions on a connection of its own.
func (m *many) load(ctx context.Context, ids []string) (Spread, error) {
	m.config.Progress(fmt.Sprintf("loading %d functions", len(ids)))
	var rates []float64
	for range densityRounds {
		if err := m.rest(ctx); err != nil {
			return Spread{}, err
		}
		var endpoints []Endpoint
		for _, id := range ids {
			endpoints = append(endpoints, Endpoint{Network: "tcp", Address: m.ours.address, Path: "/api/v1/execute/" + id})
		}
		o, err := measureEach(ctx, endpoints, hotDuration)
		if err != nil {
			return Spread{}, err
		}
		rates = append(rates, o.requestsPerSecond())
	}
	return spreadOf(rates), nil
}

// measureEach is measure with a connection to each of many endpoints.
func measureEach(ctx context.Context, endpoints []Endpoint, duration time.Duration) (outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, duration+stallTimeout)
	defer cancel()
	var connections []*connection
	defer func() {
		for _, c := range connections {
			c.close()
		}
	}()
	for _, endpoint := range endpoints {
		one, err := connect(ctx, dialWaiting, endpoint, 1)
		connections = append(connections, one...)
		if err != nil {
			return outcome{}, err
		}
	}
	began := time.Now()
	if err := closedLoop(ctx, connections, began.Add(duration)); err != nil {
		return outcome{}, err
	}
	return outcome{elapsed: time.Since(began), sorted: merge(connections)}, nil
}

// pss is what the processes of this Envoke hold.
func (m *many) pss() (sum int64, err error) {
	u, err := m.fs.read(m.stand.roots())
	if err != nil {
		return 0, err
	}
	for g, held := range u.held {
		if g.of != m.ours.name {
			continue
		}
		share, ok := m.fs.readShares(held.pids)
		if !ok {
			return 0, fmt.Errorf("the kernel does not tell what the processes of %s share", g.of)
		}
		sum += share
	}
	return sum, nil
}

// fragment runs nothing while it loads, so that registering it spends no worker on it.
var fragment = []byte("result = params['a'] + params['b']\n")

// registerAndCall registers functions and calls some of them for the first time.
func (m *many) registerAndCall(ctx context.Context, f function) error {
	m.config.Progress(fmt.Sprintf("registering %d functions", m.config.Many.Registered))
	functions := Endpoint{Network: "tcp", Address: m.ours.address, Path: "/api/v1/functions"}
	group, registering := errgroup.WithContext(ctx)
	group.SetLimit(4)
	for i := range m.config.Many.Registered {
		group.Go(func() error {
			body, err := json.Marshal(map[string]string{
				"language": f.host, "title": fmt.Sprintf("many-%d", i), "script_content": string(f.vary(fragment, strconv.Itoa(i))),
			})
			if err != nil {
				return err
			}
			_, err = post(registering, functions, string(body))
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	m.Registered = m.config.Many.Registered
	return m.callOnce(ctx, f)
}

func (m *many) callOnce(ctx context.Context, f function) error {
	var latencies []time.Duration
	for _, i := range rand.Perm(m.Registered)[:m.config.Many.Called] {
		endpoint := Endpoint{Network: "tcp", Address: m.ours.address, Path: fmt.Sprintf("/runtime/%s/many-%d", f.host, i)}
		if _, _, err := m.settle(ctx, quietPolls, settleMost); err != nil {
			return err
		}
		sent := time.Now()
		if err := askOnce(ctx, endpoint); err != nil {
			return err
		}
		latencies = append(latencies, time.Since(sent))
	}
	slices.Sort(latencies)
	m.ColdP50, m.ColdP99 = milliseconds(percentile(latencies, 0.50)), milliseconds(percentile(latencies, 0.99))
	return nil
}

// askOnce asks on a connection of its own.
func askOnce(ctx context.Context, endpoint Endpoint) error {
	c, err := dial(ctx, endpoint)
	if err != nil {
		return err
	}
	defer c.close()
	return newQuestion(endpoint, firstOperand, "").ask(c)
}
