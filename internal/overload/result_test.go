package overload

import (
	"strings"
	"testing"
	"time"
)

// sent makes counts of calls that were sent evenly and ended as they say.
func sent(length time.Duration, each func(at time.Duration) fate) *counts {
	began := time.Unix(1, 0)
	c := newCounts(began, length)
	for at := time.Duration(0); at < length; at += 10 * time.Millisecond {
		f := each(at)
		f.sent = began.Add(at)
		f.ended = f.sent.Add(f.ended.Sub(time.Time{}))
		c.add(f)
	}
	return c
}

// after is a fate with a latency.
func after(latency time.Duration, status int) fate {
	return fate{ended: time.Time{}.Add(latency), status: status}
}

func TestRecovery(t *testing.T) {
	const ms = time.Millisecond
	for _, tt := range []struct {
		name string
		each func(at time.Duration) fate
		want float64
	}{
		{"at once", func(time.Duration) fate { return after(5*ms, 200) }, 0},
		{"refused for a while", func(at time.Duration) fate {
			if at < 600*ms {
				return after(5*ms, 429)
			}
			return after(5*ms, 200)
		}, 0.75},
		{"slow for a while", func(at time.Duration) fate {
			if at < 1200*ms {
				return after(500*ms, 200)
			}
			return after(5*ms, 200)
		}, 1.25},
		{"never", func(time.Duration) fate { return after(500*ms, 200) }, -1},
		{"wrong", func(time.Duration) fate { return fate{status: 500, wrong: "status 500"} }, -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := recovery(sent(5*time.Second, tt.each), 100); got != tt.want {
				t.Errorf("recovery = %.2f s, want %.2f", got, tt.want)
			}
		})
	}
}

func TestCounts(t *testing.T) {
	c := sent(4*time.Second, func(at time.Duration) fate {
		switch {
		case at < time.Second:
			return after(time.Millisecond, 429)
		case at < 2*time.Second:
			return after(time.Millisecond, 503)
		case at < 3*time.Second:
			return fate{wrong: "broken"}
		}
		return after(at-3*time.Second, 200)
	})
	got := c.all().figures(4 * time.Second)
	want := Figures{Accepted: 100, PerSecond: 25, P50: 490, P99: 980, Limited: 100, Unavailable: 100, Wrong: 100, Why: "broken"}
	if got != want {
		t.Errorf("figures are %+v, want %+v", got, want)
	}
	if part := c.between(2*time.Second, 3*time.Second); part.Wrong != 100 || part.accepted()+part.refused() > 0 {
		t.Errorf("of the third second: %+v", part)
	}
}

func TestJudge(t *testing.T) {
	good := func() Result {
		return Result{
			Rest: Figures{Accepted: 100, P99: 20}, Flood: Figures{Accepted: 100, P99: 60, Limited: 1000},
			RestNeighbour: Figures{Accepted: 100, P99: 1}, FloodNeighbour: Figures{Accepted: 100, P99: 3}, Recovery: 2,
		}
	}
	for _, tt := range []struct {
		change func(*Result)
		fault  string
	}{
		{func(*Result) {}, ""},
		{func(r *Result) { r.Flood.P99 = 61 }, "p99 of the accepted is 61.0 ms"},
		{func(r *Result) { r.Flood.Accepted, r.Flood.P99 = 0, 0 }, "p99 of the accepted"},
		{func(r *Result) { r.Flood.Wrong, r.Flood.Why = 1, "status 500" }, "status 500"},
		{func(r *Result) { r.After.Wrong = 1 }, "1 answers"},
		{func(r *Result) { r.Recovery = 2.25 }, "recovery took 2.25 s"},
		{func(r *Result) { r.Recovery = -1 }, "recovery"},
		{func(r *Result) { r.FloodNeighbour.P99 = 4 }, "of the neighbour is 4.0 ms"},
		{func(r *Result) { r.FloodNeighbour.Limited = 1 }, "1 calls of the neighbour"},
		{func(r *Result) { r.Memory.Failed = "read memory" }, "read memory"},
	} {
		r := good()
		tt.change(&r)
		r.judge()
		if got := strings.Join(r.Faults, "; "); (got == "") != (tt.fault == "") || !strings.Contains(got, tt.fault) {
			t.Errorf("faults are %q, want %q", got, tt.fault)
		}
	}
	report := Report{Results: []Result{{Case: "a", Faults: []string{"b"}}}}
	if err := report.Err(); err == nil || !strings.Contains(err.Error(), "a: b") {
		t.Errorf("Err = %v", err)
	}
}
