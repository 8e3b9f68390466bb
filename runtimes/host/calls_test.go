package host

import (
	"fmt"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"envoke/internal/testrig"
	"envoke/runtimes/pool"
)

// TestCallsUnderWay: what hosts are scaled by counts calls as long as they run.
func TestCallsUnderWay(t *testing.T) {
	r := newRig(t, pool.Options{})
	id := r.initialize(t, `return new Promise(done => setTimeout(done, event.params.ms))`)
	ended := make(chan reply, 3)
	for range cap(ended) {
		go func() { ended <- r.execute(t, id, `{"params":{"ms":1000}}`) }()
	}
	is := func(want float64) error {
		if got := r.gauge(t, "envoke_host_calls"); got != want {
			return fmt.Errorf("%v calls are under way, want %v", got, want)
		}
		return nil
	}
	testrig.Succeeds(t, func() error { return is(3) })
	for range cap(ended) {
		<-ended
	}
	if err := is(0); err != nil {
		t.Error(err)
	}
}

// gauge reads a metric of the host that has no labels but its language.
func (r *rig) gauge(t *testing.T, name string) float64 {
	t.Helper()
	families, err := r.Registerer.(prometheus.Gatherer).Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == name {
			return family.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}
