// Package upkeep keeps a store small: now and then it deletes what has had its time, in small
// batches, in one process of all that share the store.
package upkeep

import (
	"cmp"
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Task is one kind of upkeep.
type Task struct {
	Name string // of what it works on, as metrics have it
	// Batch does at most Limit rows of it and tells how many it did; with as many as that,
	// there may be more.
	Batch func(ctx context.Context, now time.Time, limit int) (int, error)
	Limit int
	Every time.Duration // 0: each round
}

// Options make an Upkeep. Tasks, Logger and Registerer are required.
type Options struct {
	Tasks []Task
	// Lead runs work while this process leads those that share the store, again and again
	// until ctx ends, and never in two of them at once. Nil: this process is the only one.
	Lead       func(ctx context.Context, work func(context.Context)) error
	Interval   time.Duration // between rounds; 0: 1 min
	Now        func() time.Time
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

const (
	defaultInterval = time.Minute
	// batchTimeout bounds one batch, which takes some 10 ms as a rule.
	batchTimeout = 30 * time.Second
)

// Upkeep does the tasks in rounds.
type Upkeep struct {
	Options
	leads    prometheus.Gauge
	rows     *prometheus.CounterVec
	failures *prometheus.CounterVec
}

// New makes an Upkeep. It does no I/O.
func New(o Options) *Upkeep {
	if o.Interval == 0 {
		o.Interval = defaultInterval
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Lead == nil {
		o.Lead = alone
	}
	with := promauto.With(o.Registerer)
	u := &Upkeep{
		Options: o,
		leads: with.NewGauge(prometheus.GaugeOpts{
			Name: "envoke_upkeep_leads",
			Help: "1 where this control does the upkeep of the store, which one of all on it does.",
		}),
		rows: with.NewCounterVec(prometheus.CounterOpts{
			Name: "envoke_upkeep_rows_total",
			Help: "Rows that the upkeep of the store worked on here, by task: mostly rows deleted since their time was over.",
		}, []string{"task"}),
		failures: with.NewCounterVec(prometheus.CounterOpts{
			Name: "envoke_upkeep_failures_total",
			Help: "Batches of the store's upkeep that failed; they are tried again in the next round.",
		}, []string{"task"}),
	}
	for _, task := range o.Tasks {
		u.rows.WithLabelValues(task.Name)
		u.failures.WithLabelValues(task.Name)
	}
	return u
}

func alone(ctx context.Context, work func(context.Context)) error {
	work(ctx)
	return nil
}

// Serve does the tasks whenever this process leads, until ctx ends.
func (u *Upkeep) Serve(ctx context.Context) error { return u.Lead(ctx, u.work) }

// work does rounds for as long as this process leads: until ctx ends.
func (u *Upkeep) work(ctx context.Context) {
	u.leads.Set(1)
	defer u.leads.Set(0)
	u.Logger.Debug("leading the upkeep of the store")
	tick := u.Interval
	next := make([]time.Time, len(u.Tasks))
	for i, task := range u.Tasks {
		every := cmp.Or(task.Every, u.Interval)
		next[i], tick = time.Now().Add(every), min(tick, every)
	}
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			u.Logger.Debug("no longer leading the upkeep of the store")
			return
		case now := <-ticker.C:
			for i, task := range u.Tasks {
				if now.Before(next[i]) {
					continue
				}
				u.do(ctx, task)
				next[i] = now.Add(cmp.Or(task.Every, u.Interval) - tick/2) // a tick may come early
			}
		}
	}
}

// do does a task to its end, in batches that never hold up anybody for long.
func (u *Upkeep) do(ctx context.Context, task Task) {
	for ctx.Err() == nil {
		done, err := u.batch(ctx, task)
		u.rows.WithLabelValues(task.Name).Add(float64(done))
		if err != nil && ctx.Err() == nil {
			u.failures.WithLabelValues(task.Name).Inc()
			u.Logger.WarnContext(ctx, "upkeep of the store", "task", task.Name, "error", err)
		}
		if err != nil || done < task.Limit {
			return
		}
	}
}

func (u *Upkeep) batch(ctx context.Context, task Task) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, batchTimeout)
	defer cancel()
	return task.Batch(ctx, u.Now(), task.Limit)
}
