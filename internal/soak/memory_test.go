package soak

import (
	"errors"
	"os"
	"path/filepath"
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
			err := CheckGrowth(tt.samples, 0.1, nil)
			if (err != nil) != tt.grew {
				t.Errorf("checkGrowth = %v", err)
			}
			if err != nil && !strings.Contains(err.Error(), "memory of envoy grew") {
				t.Errorf("checkGrowth = %v", err)
			}
		})
	}
}

// What keeps data in memory grows to its bound, and no further.
func TestCheckGrowthOfWhatHasABound(t *testing.T) {
	bounds := map[string]int64{"envoy": 600 << 20}
	if err := CheckGrowth(samplesOf(100, 200, 300, 400, 500, 590, 600, 600), 0.1, bounds); err != nil {
		t.Error(err)
	}
	err := CheckGrowth(samplesOf(601, 601, 601, 601, 601, 601, 601, 601), 0.1, bounds)
	if err == nil || !strings.Contains(err.Error(), "more than its bound") {
		t.Errorf("checkGrowth = %v", err)
	}
}

// A server's memory is what its processes hold, and apart from that what they share.
func TestServerMemory(t *testing.T) {
	proc := t.TempDir()
	for pid, files := range map[string]map[string]string{
		"10": {"stat": "10 (postgres) S 1 10", "smaps_rollup": "Rss: 9000 kB\nPss: 3000 kB\nPss_Anon: 900 kB\nPss_Shmem: 2000 kB\n"},
		"11": {"stat": "11 (postgres) S 10 10", "smaps_rollup": "Pss:   500 kB\nPss_Shmem:   100 kB\n"},
		"12": {"stat": "12 (other) S 1 12", "smaps_rollup": "Pss: 1 kB\n"},
		"13": {"stat": "13 (postgres) S 10 10"}, // it has ended since
	} {
		for name, content := range files {
			path := filepath.Join(proc, pid, name)
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(content), 0o600)); err != nil {
				t.Fatal(err)
			}
		}
	}
	got := map[string]int64{}
	if err := (Server{Role: "postgres", Process: 10}).add(got, proc); err != nil {
		t.Fatal(err)
	}
	if got["postgres"] != 1400<<10 || got["postgres shared"] != 2100<<10 {
		t.Errorf("memory: %v", got)
	}
	if err := (Server{Role: "postgres", Process: 99}).add(got, proc); err == nil || !strings.Contains(err.Error(), "is gone") {
		t.Errorf("a server that is gone: %v", err)
	}
}

// This process is somebody's parent's child with memory of its own.
func TestResidents(t *testing.T) {
	sums, err := Residents("/proc", os.Getpid())
	if err != nil || sums["envoke"] < 1<<20 {
		t.Errorf("residents = %v, %v", sums, err)
	}
	if _, err := Residents("/proc", 1<<30); err == nil {
		t.Error("a process that is not there has memory")
	}
}
