package bench

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// rounds have the given requests a second and figures that follow from it.
func rounds(rates ...float64) []Round {
	var rounds []Round
	for _, rate := range rates {
		rounds = append(rounds, Round{
			Requests: int(rate), RequestsPerSecond: rate,
			P50: 1000 / rate, P99: 5000 / rate,
			CPU: map[Role]float64{Envoy: 800_000 / rate, Interpreter: 41.4, Client: 20},
		})
	}
	return rounds
}

func TestNewRound(t *testing.T) {
	o := outcome{
		elapsed: 2 * time.Second,
		sorted:  []time.Duration{time.Millisecond, 2 * time.Millisecond, 3 * time.Millisecond, 40 * time.Millisecond},
	}
	want := Round{
		Requests: 4, RequestsPerSecond: 2, P50: 2, P99: 40,
		CPU: map[Role]float64{Envoy: 5000, Client: 0},
	}
	if diff := cmp.Diff(want, newRound(o, cpuTimes{Envoy: 20 * time.Millisecond, Client: 0})); diff != "" {
		t.Error(diff)
	}
	if got := newRound(outcome{elapsed: time.Second}, cpuTimes{Envoy: 1}); len(got.CPU) != 0 {
		t.Errorf("CPU per request without a request: %v", got.CPU)
	}
}

func TestServedLeavesTheClientOut(t *testing.T) {
	r := Round{CPU: map[Role]float64{Envoy: 5, Interpreter: 3, Client: 100}}
	if got := r.served(); got != 8 {
		t.Errorf("served for %v µs", got)
	}
}

func TestRatioIsTakenWithinRounds(t *testing.T) {
	for _, test := range []struct {
		name           string
		rounds, beside []Round
		want           Spread
	}{
		// The ratio of the medians would be 200 / 200.
		{"the machine slows down", rounds(50, 200, 400), rounds(100, 400, 200), Spread{Median: 0.5, Min: 0.5, Max: 2}},
		{"not measured", nil, rounds(100), Spread{}},
		{"nothing served", rounds(100, 100), rounds(0, 50), Spread{Median: 2, Min: 2, Max: 2}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, ratioOf(test.rounds, test.beside, Round.throughput)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// exampleReport has cases that meet a target, that miss one, and that were not
// measured.
func exampleReport() Report {
	result := func(key, load string, rates ...float64) Result {
		i := slices.IndexFunc(Cases(), func(c Case) bool { return c.Key == key })
		return newResult(Cases()[i], load, rounds(rates...))
	}
	machine := Machine{
		CPU: "Test CPU", CPUs: 2, Kernel: "6.1", Go: "1.26", Node: "20.1.1", Python: "3.11.7", Envoy: "1.40.0",
		OtherLoad: Spread{Median: 0.2, Min: 0, Max: 0.5},
	}
	config := Config{Rounds: 3, Duration: 1500 * time.Millisecond, Rate: 2000, Concurrency: 1, Parts: []Part{JavaScript, Peers}}
	report := newReport(time.Unix(0, 0), machine, config, []Result{
		result("b", ThirtyTwo, 14000, 15000, 13000),
		result("c", ThirtyTwo, 7000, 7100, 6900),
		result("f", ThirtyTwo, 10500, 10400, 10600),
		result("nb", ThirtyTwo, 2500, 2500, 2500),
		result("b", One, 3000, 3100, 3050),
		result("f", One, 2500, 2400, 2600),
		result("f", Open, 2000, 1999, 2001),
		result("h", Cold, 100, 110, 120),
		result("ph", Cold, 20, 21, 22),
	})
	report.Missing = []Missing{{Case: "kb", Name: "Envoy → workerd", Why: "it is not installed"}}
	return report
}

func TestMissedTargets(t *testing.T) {
	// f/b is 0.75 and met, f/c is 1.5 and not; f/nb is met. The others were not
	// measured. Of the cold starts h met its target, ph did not; the parts that were
	// not asked for miss nothing.
	want := []string{"f/c", "g/b", "e/d", "e/nd", "pe/yd", "pf/yb", "ph"}
	if diff := cmp.Diff(want, exampleReport().MissedTargets()); diff != "" {
		t.Error(diff)
	}
}

func TestReportAsText(t *testing.T) {
	var got bytes.Buffer
	if _, err := exampleReport().WriteTo(&got); err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/report.golden.txt"
	if *update {
		if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Error(diff)
	}
}

func TestReportAsJSON(t *testing.T) {
	want := exampleReport()
	encoded, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got Report
	if err := json.Unmarshal(encoded, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestModelName(t *testing.T) {
	if got := modelName("processor : 0\nmodel name\t: Some CPU: fast\nmodel name : another\n"); got != "Some CPU: fast" {
		t.Errorf("got %q", got)
	}
}
