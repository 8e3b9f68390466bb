package main

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"envoke/internal/overload"
)

// A function that gets five times as many calls as it can serve answers those that it takes,
// refuses the others in so many words, harms no other function and is as before at once. `make
// overload` does this for longer, and with bounds on latencies that a busy machine does not keep.
func TestOverload(t *testing.T) {
	i := serve(t, "--worker-queue", "64")
	cases := slices.DeleteFunc(overload.Cases(), func(c overload.Case) bool { return c.Name != "python-waits" })
	cases[0].Neighboured = true
	var said strings.Builder
	report, err := overload.Run(t.Context(), overload.Config{
		URL: i.base, Process: os.Getpid(), Seconds: 4, Times: 5, Connections: 256, Phase: 2 * time.Second, Out: &said,
	}, cases)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(said.String())
	got := report.Results[0]
	if wrong := got.Rest.Wrong + got.Flood.Wrong + got.After.Wrong; wrong > 0 || got.Flood.Limited == 0 {
		t.Errorf("%d wrong answers, the first %q; %d times 429", wrong, got.Flood.Why, got.Flood.Limited)
	}
	if got.Flood.P50 > 200 { // with a full queue in the order in which calls came, 640
		t.Errorf("half of those that were taken waited %.0f ms and more", got.Flood.P50)
	}
	if got.Flood.PerSecond < got.Capacity/2 {
		t.Errorf("%.0f calls a second were taken in the flood, of %.0f that it can serve", got.Flood.PerSecond, got.Capacity)
	}
	if n := got.FloodNeighbour; n.Wrong+n.Limited+n.Unavailable > 0 || n.Accepted == 0 {
		t.Errorf("another function: %+v", n)
	}
	if got.Recovery < 0 || got.Recovery > 1 {
		t.Errorf("it took %.2f s until all was as before", got.Recovery)
	}
	if refused := i.metricLine(t, `envoke_pool_refused_total{language="python",reason="overload"}`); refused == "" || strings.HasSuffix(refused, " 0") {
		t.Errorf("the metric of it says %q", refused)
	}
}
