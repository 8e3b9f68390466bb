// Package overload sends a running Envoke several times what it can do, and checks that it
// stays of use: what it takes is answered about as soon as before, what it does not is told
// so at once, and when the flood is over all is as it was.
package overload

import (
	"context"
	"fmt"
	"io"
	"time"
)

// The bounds that a case must keep.
const (
	// slowdown is how many times as long as at restLoad the slowest hundredth of the accepted
	// may take.
	slowdown = 3
	// recoverWithin is how long after the flood it may be felt.
	recoverWithin = 2 * time.Second
	// growth is by what share memory may grow from the second quarter of the flood to the last.
	growth = 0.1
	// envokeMost is up to where envoke's memory may grow in any case, in bytes: it is collected
	// when it is several times what is in use, and eagerly only from there on.
	envokeMost = 1 << 30
)

const (
	// restLoad is the share of the capacity at which the latencies are measured that others
	// are compared with: at the capacity itself every queue grows, and a closed loop shows how
	// many connections it has.
	restLoad = 0.8
	// afterLoad is the share that is sent when the flood is over.
	afterLoad = 0.5

	// phase is how long a load is that is no flood.
	phase = 10 * time.Second
	// settle is before the figures of a phase begin to count.
	settle = time.Second

	capacityClients = 32
)

// Config is what a run needs.
type Config struct {
	URL         string // of Envoy's public port
	Process     int    // the process id of envoke serve
	Seconds     int    // of the flood
	Times       float64
	Connections int           // at most
	Phase       time.Duration // of each load that is no flood; 0: ten seconds
	Out         io.Writer
}

// Run sends the cases one after the other.
func Run(ctx context.Context, config Config, cases []Case) (Report, error) {
	if config.Phase == 0 {
		config.Phase = phase
	}
	report := Report{Seconds: config.Seconds, Connections: config.Connections, Times: config.Times}
	for _, c := range cases {
		_, _ = fmt.Fprintf(config.Out, "%s: %s\n", c.Name, c.About)
		r := &run{config: config, made: c}
		if err := r.run(ctx); err != nil {
			return report, fmt.Errorf("%s: %w", c.Name, err)
		}
		report.Results = append(report.Results, r.result)
	}
	return report, nil
}

// run is a case under way.
type run struct {
	config  Config
	made    Case
	flooded target
	// neighbour has a few calls a second all the time; empty: there is none.
	neighbour target
	result    Result
}

func (r *run) run(ctx context.Context) (err error) {
	r.result = Result{Case: r.made.Name, About: r.made.About}
	if r.flooded, r.neighbour, err = r.made.prepare(ctx, r.config.URL); err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	if r.result.Capacity, err = r.capacity(ctx); err != nil {
		return fmt.Errorf("find the capacity: %w", err)
	}
	_, _ = fmt.Fprintf(r.config.Out, "  capacity: %.0f a second\n", r.result.Capacity)
	if err := r.rest(ctx); err != nil {
		return err
	}
	if err := r.flood(ctx); err != nil {
		return err
	}
	r.result.judge()
	_, _ = fmt.Fprint(r.config.Out, r.result.line())
	return nil
}

// capacity is how many calls a second a few callers get answered who wait for each other: in
// the best second, since what else the machine does only lowers it.
func (r *run) capacity(ctx context.Context) (best float64, err error) {
	length := r.config.Phase / 2
	counts, err := closedLoop(ctx, r.flooded, capacityClients, length+settle)
	if err != nil {
		return 0, err
	}
	for at := settle; at < length+settle; at += time.Second {
		best = max(best, float64(counts.between(at, at+time.Second).accepted()))
	}
	if all := counts.all(); all.Wrong > 0 || best == 0 {
		return 0, fmt.Errorf("%d wrong answers, %d right ones: %s", all.Wrong, all.accepted(), counts.firstWrong())
	}
	return best, nil
}

// rest measures what is compared with.
func (r *run) rest(ctx context.Context) error {
	length := r.config.Phase
	o := r.open(restLoad*r.result.Capacity, length+settle)
	err := o.run(ctx)
	o.wait()
	if err != nil {
		return err
	}
	r.result.Rest = o.flooded.between(settle, settle+length).figures(length)
	if o.neighbour != nil {
		r.result.RestNeighbour = o.neighbour.between(settle, settle+length).figures(length)
	}
	if r.result.Rest.P99 == 0 {
		return fmt.Errorf("nothing was answered at %.1f of the capacity: %s", restLoad, o.flooded.firstWrong())
	}
	return nil
}

// flood sends too much, and then little.
func (r *run) flood(ctx context.Context) error {
	length := time.Duration(r.config.Seconds) * time.Second
	watching, stop := context.WithCancel(ctx)
	defer stop()
	memory := make(chan memories, 1)
	go func() { memory <- watchMemory(watching, r.config.Process) }()

	flood := r.open(r.config.Times*r.result.Capacity, length)
	defer flood.wait()
	err := flood.run(ctx)
	stop()
	r.result.Memory = <-memory
	if err != nil {
		return err
	}
	// What is left of the flood is answered meanwhile.
	after := r.open(afterLoad*r.result.Capacity, r.config.Phase)
	err = after.run(ctx)
	after.wait()
	if err != nil {
		return err
	}
	flood.calls.Wait()
	r.result.take(flood, after)
	return nil
}

// open is an open loop of so many calls a second at the flooded function.
func (r *run) open(rate float64, length time.Duration) *openLoop {
	return &openLoop{target: r.flooded, beside: r.neighbour, rate: rate, length: length, most: r.config.Connections}
}
