package bench

import (
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// stallTimeout is how long a measurement may take beyond its duration, in which
// an overloaded case works off what has queued.
const stallTimeout = 20 * time.Second

// Load is a way of sending requests.
type Load struct {
	Name        string
	Connections int
	// Rate is the arrivals a second of an open loop. With 0 the loop is closed: a
	// connection sends its next request when it has the reply to its last.
	Rate float64
	// Every says in which rounds it is measured: in each (1), or in every so many.
	Every int
	// Duration of one measurement.
	Duration time.Duration
}

// outcome is what one measurement counted.
type outcome struct {
	elapsed time.Duration
	sorted  []time.Duration // a latency for each request
}

func (o outcome) requestsPerSecond() float64 {
	return float64(len(o.sorted)) / o.elapsed.Seconds()
}

// connection is a client and the question it keeps asking.
type connection struct {
	*client
	*question
	sent      time.Time // the request under way, in a closed loop
	most      int       // requests of a closed loop; 0: until its end
	latencies []time.Duration
}

// measure puts a load on an endpoint. It asks an unmeasured question on each connection
// first, so that connections further up exist and that cached results are there.
func measure(ctx context.Context, endpoint Endpoint, load Load) (outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, load.Duration+stallTimeout)
	defer cancel()
	way := dialWaiting
	if load.Rate > 0 {
		way = dial
	}
	connections, err := connect(ctx, way, endpoint, load.Connections)
	defer func() {
		for _, c := range connections {
			c.close()
		}
	}()
	if err != nil {
		return outcome{}, err
	}
	began := time.Now()
	if load.Rate > 0 {
		err = openLoop(ctx, connections, schedule{start: began, rate: load.Rate}, load.Duration)
	} else {
		err = closedLoop(ctx, connections, began.Add(load.Duration))
	}
	if err != nil {
		return outcome{}, err
	}
	return outcome{elapsed: time.Since(began), sorted: merge(connections)}, nil
}

// dialer connects a client.
type dialer func(context.Context, Endpoint) (*client, error)

// connect returns what it connected even if it fails.
func connect(ctx context.Context, dial dialer, endpoint Endpoint, n int) ([]*connection, error) {
	var connections []*connection
	for i := range n {
		c, err := dial(ctx, endpoint)
		if err != nil {
			return connections, err
		}
		// Connections ask from ranges of their own, each an odd way apart.
		first := firstOperand + int64(i)*8_765_431
		connection := &connection{client: c, question: newQuestion(endpoint, first, "")}
		connections = append(connections, connection)
		if err := connection.begin(endpoint); err != nil {
			return connections, err
		}
	}
	return connections, nil
}

// hitTries is how often a question of a cached endpoint is asked before its reply has to
// come from the cache: once to fill it, once more where it expired just then.
const hitTries = 4

// begin asks what is not measured.
func (c *connection) begin(endpoint Endpoint) error {
	if !endpoint.Cached {
		return c.ask(c.client)
	}
	for range hitTries {
		if err := c.ask(c.client); err != nil {
			return err
		}
		if c.fromCache() {
			return nil
		}
	}
	return fmt.Errorf("asked %d times, no reply had an Age header: it does not come from a cache", hitTries)
}

// openLoop sends at the scheduled times, whatever the replies do: an arrival that
// finds every connection busy waits, and its latency counts from the time it was
// due, so that a stall is paid by all requests that it delayed.
func openLoop(ctx context.Context, connections []*connection, s schedule, duration time.Duration) error {
	due := make(chan int, s.arrivals(duration)) // takes them all: the pacer never waits
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return pace(ctx, s, duration, due) })
	for _, c := range connections {
		group.Go(func() error { return c.askDue(ctx, s, due) })
	}
	return group.Wait()
}

func (c *connection) askDue(ctx context.Context, s schedule, due <-chan int) error {
	for arrival := range due {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("work off arrival %d: %w", arrival, err)
		}
		if err := c.ask(c.client); err != nil {
			return err
		}
		c.latencies = append(c.latencies, time.Since(s.at(arrival)))
	}
	return nil
}

func merge(connections []*connection) []time.Duration {
	var all []time.Duration
	for _, c := range connections {
		all = append(all, c.latencies...)
	}
	slices.Sort(all)
	return all
}
