package bench

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"envoke/internal/testrig"
)

// newStateRun is a run of the part in a folder of a short name, so short that figures mean
// nothing.
func newStateRun(t *testing.T) *run {
	t.Helper()
	cache, err := testrig.CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	config := Config{Parts: []Part{StatePart}, Duration: 20 * time.Millisecond, Envoke: "/nonexistent", CacheDir: cache, Progress: func(string) {}}
	return &run{config: config, stand: newStand(config, testrig.Dir(t)), fs: "/proc", memories: make(memories)}
}

// What is asked inside control, of real servers.
func TestMeasureInside(t *testing.T) {
	testrig.PostgresBin(t)
	testrig.RedisBin(t)
	s := &state{run: newStateRun(t)}
	defer func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	}()
	if err := s.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.measureInside(t.Context()); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range s.Lookups {
		got = append(got, l.Where)
		if l.ThirtyTwo <= 0 || l.One <= 0 {
			t.Errorf("look-ups: %+v", l)
		}
	}
	for _, r := range s.Rows {
		got = append(got, r.Store)
		if r.Rows < rowsInFile || r.PerSecond <= 0 {
			t.Errorf("rows: %+v", r)
		}
	}
	if diff := cmp.Diff([]string{inMemory, inRedis, inPostgres, inSQLite, inSQLite, inPostgres}, got); diff != "" {
		t.Error(diff)
	}
}

// Without its servers the part is missing, and says what to do.
func TestStateWithoutServersIsMissing(t *testing.T) {
	r := newStateRun(t)
	r.config.CacheDir = t.TempDir()
	t.Setenv("POSTGRES_BIN", "")
	t.Setenv("REDIS_SERVER", "")
	t.Setenv("PATH", "")
	if err := r.measureState(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(r.stand.missing) != 1 || r.stand.missing[0].Case != "state" || r.state != nil {
		t.Fatalf("missing: %+v, state %+v", r.stand.missing, r.state)
	}
	for _, want := range []string{"make postgres", "make redis"} {
		if !strings.Contains(r.stand.missing[0].Why, want) {
			t.Errorf("%q lacks %s", r.stand.missing[0].Why, want)
		}
	}
}

// A look-up that finds nothing, or another session, is no look-up.
func TestLookUpsAreChecked(t *testing.T) {
	if _, err := (nowhere{}).FindLive(t.Context(), "x"); err == nil {
		t.Error("a store that is not to be asked answers")
	}
}

func TestSeen(t *testing.T) {
	var last []time.Duration
	for i := range 220 {
		last = append(last, time.Duration(i%4/3)*time.Duration(i)*time.Millisecond)
	}
	for _, test := range []struct {
		way  string
		want Seen
	}{
		{byHosts, Seen{Way: byHosts, Samples: 220, Old: 55, P99: 211, Longest: 219, Most: 100, Missed: true}},
		{byFilters, Seen{Way: byFilters, Samples: 220, Old: 55, P99: 211, Longest: 219, Most: 1000}},
	} {
		if diff := cmp.Diff(test.want, newSeen(test.way, last)); diff != "" {
			t.Error(diff)
		}
	}
}

// The changes of a function follow each other as the API allows, and are as many of each kind
// as is said.
func TestChanges(t *testing.T) {
	c := &changing{language: "nodejs", title: "f"}
	n, value, numbers := map[string]int{}, int64(100), 0
	do := func(kind string) {
		value++
		r := c.request(kind, value)
		switch {
		case kind == rollback && (c.previous.version == 0 || !bytes.Contains(r.body, fmt.Appendf(nil, "%d", c.previous.version))):
			t.Fatalf("step %d: %s %s %s rolls back to nothing: %+v", c.steps, r.method, r.path, r.body, c.previous)
		case (kind == newVersion || kind == "") && !bytes.Contains(r.body, fmt.Appendf(nil, "return %d", value)):
			t.Fatalf("%s does not return %d", r.body, value)
		}
		if kind == newVersion || kind == "" {
			numbers++
		}
		if err := c.changed(kind, value, fmt.Appendf(nil, `{"version":%d}`, numbers)); err != nil {
			t.Fatal(err)
		}
	}
	do("")
	for range 10 * changesOfEach() {
		kind := c.nextKind()
		n[kind]++
		if c.value == 0 {
			do("")
		}
		before, want := c.value, value+1
		switch kind {
		case rollback:
			want = c.previous.value
		case deletion:
			want = 0
		}
		do(kind)
		if c.value != want || c.value == before {
			t.Errorf("step %d, %s: it returned %d and returns %d, want %d", c.steps, kind, before, c.value, want)
		}
		c.steps++
	}
	if diff := cmp.Diff(map[string]int{newVersion: 50, rollback: 30, deletion: 30}, n); diff != "" {
		t.Error(diff)
	}
	if err := c.changed(newVersion, 1, []byte(`{}`)); err == nil {
		t.Error("no error for a version without a number")
	}
}

// What the filter keeps is shorter than 8 KiB, and ext_proc is passed by without X-Cache-Control.
func TestWays(t *testing.T) {
	c := &changing{language: "python", title: "f"}
	for way, want := range map[string]struct {
		longer  bool
		control bool
	}{byHosts: {false, false}, byExtProcs: {true, true}, byFilters: {false, true}} {
		ask := c.ask(way, "?n=1")
		cacheControl := bytes.Contains(ask, []byte(http.CanonicalHeaderKey("x-cache-control")))
		if len(ask) > 8<<10 != want.longer || cacheControl != want.control || !bytes.HasPrefix(ask, []byte("POST /runtime/python/f?n=1 ")) {
			t.Errorf("%s: %d bytes, X-Cache-Control %t", way, len(ask), cacheControl)
		}
	}
}

// The module is one, and prints its value.
func TestConstantModule(t *testing.T) {
	ctx := t.Context()
	runtime := wazero.NewRuntime(ctx)
	defer runtime.Close(ctx)
	wasi_snapshot_preview1.MustInstantiate(ctx, runtime)
	var printed bytes.Buffer
	if _, err := runtime.InstantiateWithConfig(ctx, constantModule(123_456_789), wazero.NewModuleConfig().WithStdout(&printed)); err != nil {
		t.Fatal(err)
	}
	if printed.String() != "123456789" {
		t.Errorf("it prints %q", printed.String())
	}
}

func TestSpendersAreInOrder(t *testing.T) {
	got := exampleState().Loaded.spenders()
	if diff := cmp.Diff([]string{"envoke", inPostgres, "envoy"}, got); diff != "" {
		t.Error(diff)
	}
}

// A folder is given out once, also after what was in it has ended.
func TestFoldersAreNew(t *testing.T) {
	s := newStand(Config{}, t.TempDir())
	one, two := s.newDir(), s.newDir()
	if one == two || filepath.Dir(one) != s.dir {
		t.Errorf("%s, %s", one, two)
	}
	if _, err := os.Stat(one); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is there: %v", one, err)
	}
}
