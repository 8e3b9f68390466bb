package bench

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDocs(t *testing.T) {
	files := exampleReport().docs()
	for name, content := range files {
		compareGolden(t, strings.Replace(name, ".", ".golden.", 1), content)
		if strings.HasSuffix(name, ".svg") {
			checkXML(t, name, content)
		}
	}
	want := []string{page, coldChart, requestsChartOf(JavaScript), latencyChartOf(JavaScript), requestsChartOf(Peers), latencyChartOf(Peers)}
	for _, name := range want {
		if files[name] == nil {
			t.Errorf("there is no %s", name)
		}
	}
	if len(files) != len(want) {
		t.Errorf("%d files, want %d", len(files), len(want))
	}
}

func checkXML(t *testing.T, name string, content []byte) {
	t.Helper()
	decoder := xml.NewDecoder(strings.NewReader(string(content)))
	for {
		switch _, err := decoder.Token(); {
		case errors.Is(err, io.EOF):
			return
		case err != nil:
			t.Errorf("%s: %v", name, err)
			return
		}
	}
}

// A report without anything in it must not break what shows reports.
func TestDocsOfAnEmptyReport(t *testing.T) {
	files := Report{Settings: Settings{Parts: Parts()}}.docs()
	if len(files) != 1 || files[page] == nil {
		t.Errorf("%d files", len(files))
	}
}

func TestWriteDocs(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "docs", "benchmarks")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{requestsChartOf(Wasm), "mine.svg"} {
		if err := os.WriteFile(filepath.Join(folder, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := exampleReport().WriteDocs(folder); err != nil {
		t.Fatal(err)
	}
	var got []string
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		got = append(got, entry.Name())
	}
	// The chart of a part that was not measured is of another run, and gone.
	want := []string{page, coldChart, "js-latency.svg", "js-requests.svg", "mine.svg", "peers-latency.svg", "peers-requests.svg"}
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if err := exampleReport().WriteDocs("/dev/null/docs"); err == nil {
		t.Error("no error for a folder that cannot be made")
	}
}

// One case that is far slower than the others must leave something to be seen of them.
func TestLatencyLimit(t *testing.T) {
	of := func(p99s ...float64) (results []Result) {
		for _, p99 := range p99s {
			results = append(results, Result{P99: Spread{Median: p99}})
		}
		return results
	}
	for _, test := range []struct {
		name    string
		results []Result
		want    float64
	}{
		{"none", nil, 0},
		{"one", of(3), 3},
		{"alike", of(1, 2, 3), 3},
		{"one far off", of(1, 2, 300), 8},
		{"overloaded ones do not count", append(of(1), Result{P99: Spread{Median: 99}, Overloaded: true}), 1},
	} {
		if got := latencyLimit(test.results); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}
