package soak

import (
	"os"
	"strings"
	"testing"
)

func samplesOf(values ...int64) (samples []Sample) {
	for _, v := range values {
		samples = append(samples, Sample{Bytes: map[string]int64{"envoy": v << 20, "worker": 100 << 20}})
	}
	return samples
}

func TestCheckGrowth(t *testing.T) {
	for _, tt := range []struct {
		name    string
		samples []Sample
		grew    bool
	}{
		{"flat", samplesOf(900, 500, 501, 500, 502, 500, 500, 501), false},
		{"a beginning", samplesOf(10, 300, 500, 500, 500, 500, 500, 500), false},
		{"growing", samplesOf(100, 200, 300, 400, 500, 600, 700, 800), true},
		{"little", samplesOf(1, 2, 3, 4, 5, 6, 7, 8), false},
		{"one peak at the end", samplesOf(500, 500, 500, 500, 500, 500, 500, 500, 500, 500, 500, 500, 500, 500, 500, 900), false},
		{"too few to tell", samplesOf(1, 1000), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := checkGrowth(tt.samples, 0.1)
			if (err != nil) != tt.grew {
				t.Errorf("checkGrowth = %v", err)
			}
			if err != nil && !strings.Contains(err.Error(), "memory of envoy grew") {
				t.Errorf("checkGrowth = %v", err)
			}
		})
	}
}

// This process is somebody's parent's child with memory of its own.
func TestResidents(t *testing.T) {
	sums, err := residents("/proc", os.Getpid())
	if err != nil || sums["envoke"] < 1<<20 {
		t.Errorf("residents = %v, %v", sums, err)
	}
	if _, err := residents("/proc", 1<<30); err == nil {
		t.Error("a process that is not there has memory")
	}
}
