package upkeep_test

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"envoke/internal/faas"
	"envoke/internal/sqlite"
	"envoke/internal/testrig"
	"envoke/internal/upkeep"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newUpkeep(t *testing.T, o upkeep.Options) (*upkeep.Upkeep, *prometheus.Registry) {
	t.Helper()
	registry := prometheus.NewRegistry()
	o.Interval, o.Logger, o.Registerer = 5*time.Millisecond, slog.New(slog.DiscardHandler), registry
	return upkeep.New(o), registry
}

// TestSessionsAreSweptWhenTheirTimeIsOver, all of them in one round, though a batch has room for
// one. What time it is, is Now's to say.
func TestSessionsAreSweptWhenTheirTimeIsOver(t *testing.T) {
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "envoke.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	script := faas.NewScript(faas.NodeJS, "return 1", nil)
	var ids []faas.SessionID
	began := time.Now()
	for i := range 3 {
		s := faas.Session{
			ID: faas.NewSessionKey().NewID(faas.NodeJS, true), Name: faas.Name{Language: faas.NodeJS, Title: "t"},
			Digest: script.Digest, CreatedAt: began, ExpiresAt: began.Add(50*time.Minute + time.Duration(i/2)*time.Hour), Status: faas.Active,
		}
		if err := store.CreateSession(t.Context(), s, &script); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, s.ID)
	}
	var batches []int // what each of the first round did
	round := make(chan struct{})
	u, _ := newUpkeep(t, upkeep.Options{
		Tasks: []upkeep.Task{
			{Name: "sessions", Limit: 1, Batch: func(ctx context.Context, now time.Time, limit int) (int, error) {
				done, err := store.SweepSessions(ctx, now, limit)
				batches = append(batches, done)
				return done, err
			}},
			{Name: "next", Limit: 1, Batch: func(ctx context.Context, _ time.Time, _ int) (int, error) {
				close(round)
				<-ctx.Done() // there is no second one
				return 0, nil
			}},
		},
		Now: func() time.Time { return began.Add(time.Hour) },
	})
	testrig.Serve(t, u.Serve)
	<-round
	if diff := cmp.Diff([]int{1, 1, 0}, batches); diff != "" {
		t.Errorf("sessions that each batch swept (-want +got)\n%s", diff)
	}
	for _, id := range ids[:2] {
		if _, err := store.FindSession(t.Context(), id); !faas.IsNotFound(err) {
			t.Errorf("a session whose time is over: %v", err)
		}
	}
	if _, err := store.FindSession(t.Context(), ids[2]); err != nil {
		t.Errorf("a session that lives: %v", err)
	}
}

// TestWhoDoesNotLeadDoesNothing, and the metric says who leads.
func TestWhoDoesNotLeadDoesNothing(t *testing.T) {
	lead := make(chan context.Context)
	var done atomic.Int64
	u, registry := newUpkeep(t, upkeep.Options{
		Tasks: []upkeep.Task{
			{Name: "broken", Limit: 1, Batch: func(context.Context, time.Time, int) (int, error) { return 0, errors.New("broken") }},
			{Name: "rows", Limit: 10, Batch: func(context.Context, time.Time, int) (int, error) { done.Add(1); return 3, nil }},
		},
		Lead: func(ctx context.Context, work func(context.Context)) error {
			for {
				select {
				case <-ctx.Done():
					return nil
				case leading := <-lead:
					work(leading)
				}
			}
		},
	})
	leads := func() float64 {
		t.Helper()
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range families {
			if family.GetName() == "envoke_upkeep_leads" {
				return family.GetMetric()[0].GetGauge().GetValue()
			}
		}
		return -1
	}
	testrig.Serve(t, u.Serve)
	if got := leads(); got != 0 || done.Load() != 0 {
		t.Errorf("before it leads: the metric is %v, %d batches were done", got, done.Load())
	}
	ctx, stop := context.WithCancel(t.Context())
	lead <- ctx
	testrig.Eventually(t, "work", func() bool { return done.Load() > 1 })
	if got := leads(); got != 1 {
		t.Errorf("while it leads the metric is %v", got)
	}
	stop()
	testrig.Eventually(t, "the metric to say so", func() bool { return leads() == 0 })
	before := done.Load()
	ctx, stop = context.WithCancel(t.Context())
	stop()
	lead <- ctx // taken up only when the last lead has ended
	if done.Load() != before {
		t.Error("it worked without leading")
	}
	if failed, err := testutil.GatherAndCount(registry, "envoke_upkeep_failures_total"); err != nil || failed != 2 {
		t.Errorf("%d kinds of failures, %v", failed, err)
	}
}

// TestTaskOfItsOwnPace: one that is due more often does not wait for the rounds of the others.
func TestTaskOfItsOwnPace(t *testing.T) {
	const rounds = 3
	done := make(chan struct{}, rounds)
	u := upkeep.New(upkeep.Options{
		Tasks: []upkeep.Task{
			{Name: "rare", Limit: 1, Batch: func(context.Context, time.Time, int) (int, error) {
				t.Error("the rounds are hours apart")
				return 0, nil
			}},
			{Name: "often", Limit: 1, Every: time.Millisecond, Batch: func(context.Context, time.Time, int) (int, error) {
				select {
				case done <- struct{}{}:
				default:
				}
				return 0, nil
			}},
		},
		Interval: time.Hour, Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	})
	testrig.Serve(t, u.Serve)
	for range rounds {
		<-done
	}
}
