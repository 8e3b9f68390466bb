package static

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"envoke/internal/routing"
	"envoke/internal/testrig"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// followed is a file that is followed.
type followed struct {
	*routing.Sources

	path    string
	changes atomic.Int64
	log     testrig.Text
}

func follow(t *testing.T, content string) *followed {
	t.Helper()
	f := &followed{path: filepath.Join(t.TempDir(), "routes.yaml")}
	f.Sources = routing.NewSources(func() { f.changes.Add(1) })
	write(t, f.path, content)
	w, err := Open(Options{
		Paths: []string{f.path}, Sources: f.Sources, Every: 10 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(&f.log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	testrig.Serve(t, w.Serve)
	return f
}

func (f *followed) routes() int              { return len(f.Merged().Routes) }
func (f *followed) of() routing.SourceStatus { return f.Status()[0] }

const one, two = "routes:\n- {name: a, rules: [{}]}\n", "routes:\n- {name: a, rules: [{}]}\n- {name: b, rules: [{}]}\n"

// TestFollows: what changes is taken, what is broken is told once, and what was there before
// goes on.
func TestFollows(t *testing.T) {
	f := follow(t, one)
	if f.routes() != 1 || f.changes.Load() != 1 {
		t.Fatalf("it begins with %d routes, after %d changes", f.routes(), f.changes.Load())
	}
	write(t, f.path, two)
	testrig.Eventually(t, "two routes", func() bool { return f.routes() == 2 })
	write(t, f.path, two+"colour: red\n")
	testrig.Eventually(t, "a refusal", func() bool { return f.of().Refused })
	if got := f.of(); f.routes() != 2 || len(got.Faults) != 1 || got.Faults[0].Line != 4 || got.Faults[0].File != f.path {
		t.Errorf("it stands so: %+v", got)
	}
	if err := os.Remove(f.path); err != nil {
		t.Fatal(err)
	}
	testrig.Eventually(t, "another refusal", func() bool {
		got := f.of()
		return len(got.Faults) == 1 && strings.Contains(got.Faults[0].Message, "no such file")
	})
	write(t, f.path, one)
	testrig.Eventually(t, "one route", func() bool { got := f.of(); return f.routes() == 1 && !got.Refused && len(got.Faults) == 0 })
	if n := strings.Count(f.log.String(), "what they declared before stays"); n != 2 {
		t.Errorf("of two faults it says %d times:\n%s", n, f.log.String())
	}
	if n := f.changes.Load(); n != 3 {
		t.Errorf("of three declarations %d were told", n)
	}
}

// TestSettles: what one look has seen and the next has not is taken by none.
func TestSettles(t *testing.T) {
	f := &followed{path: filepath.Join(t.TempDir(), "routes.yaml")}
	f.Sources = routing.NewSources(func() { f.changes.Add(1) })
	write(t, f.path, two)
	w, err := Open(Options{Paths: []string{f.path}, Sources: f.Sources, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	for _, half := range []string{"", one, "rou", one + "- {name: c"} {
		write(t, f.path, half)
		w.look(t.Context())
		if f.routes() != 2 || f.of().Refused {
			t.Errorf("%q was taken at once", half)
		}
	}
	write(t, f.path, one)
	w.look(t.Context())
	w.look(t.Context())
	if f.routes() != 1 {
		t.Error("what stays was not taken")
	}
}

// TestOpenFaults: a start is told all.
func TestOpenFaults(t *testing.T) {
	path := filepath.Join(t.TempDir(), "routes.yaml")
	write(t, path, "routes:\n- name: A\n")
	faults := Check([]string{path})
	if len(faults) != 2 || !strings.Contains(faults[0].Error(), ":2:3: routes[0].rules") {
		t.Errorf("%v", faults)
	}
	sources := routing.NewSources(func() { t.Error("something was declared") })
	if _, err := Open(Options{Paths: []string{path}, Sources: sources, Logger: slog.New(slog.DiscardHandler)}); err == nil || strings.Count(err.Error(), path) != 2 {
		t.Error(err)
	}
	if faults := Check([]string{path, path + ".none"}); len(faults) != 1 || !strings.Contains(faults[0].Error(), "no such file") {
		t.Errorf("%v", faults)
	}
}
