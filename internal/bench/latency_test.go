package bench

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPercentile(t *testing.T) {
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(i + 1)
	}
	for _, test := range []struct {
		name   string
		sorted []time.Duration
		p      float64
		want   time.Duration
	}{
		{"none", nil, 0.5, 0},
		{"one", []time.Duration{7}, 0.99, 7},
		{"median of two is the lower", []time.Duration{1, 2}, 0.5, 1},
		{"median of three", []time.Duration{1, 2, 3}, 0.5, 2},
		{"p50 of 100", hundred, 0.5, 50},
		{"p99 of 100", hundred, 0.99, 99},
		{"least", hundred, 0, 1},
		{"greatest", hundred, 1, 100},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := percentile(test.sorted, test.p); got != test.want {
				t.Errorf("percentile %v is %d, want %d", test.p, got, test.want)
			}
		})
	}
}

// The definition: at least the fraction p of the values does not exceed the
// percentile, and that holds for no lesser value.
func TestPercentileIsNearestRank(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		values := make([]time.Duration, 1+random.IntN(50))
		for i := range values {
			values[i] = time.Duration(random.IntN(20))
		}
		slices.Sort(values)
		p := 0.01 + 0.99*random.Float64()
		enough := func(v time.Duration) bool {
			notAbove := 0
			for _, value := range values {
				if value <= v {
					notAbove++
				}
			}
			return float64(notAbove) >= p*float64(len(values))
		}
		got := percentile(values, p)
		if !enough(got) || enough(got-1) {
			t.Fatalf("percentile %v of %d is %d", p, values, got)
		}
	}
}

func TestSpread(t *testing.T) {
	for _, test := range []struct {
		name   string
		values []float64
		want   Spread
	}{
		{"none", nil, Spread{}},
		{"one", []float64{3}, Spread{3, 3, 3}},
		{"odd", []float64{9, 1, 5}, Spread{Median: 5, Min: 1, Max: 9}},
		{"even", []float64{8, 2, 4, 100}, Spread{Median: 6, Min: 2, Max: 100}},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := slices.Clone(test.values)
			if diff := cmp.Diff(test.want, spreadOf(test.values)); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(before, test.values); diff != "" {
				t.Errorf("the values were reordered: %s", diff)
			}
		})
	}
}
