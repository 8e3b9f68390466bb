package bundle_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"envoke/internal/controlpb"
	"envoke/internal/faas"
	"envoke/internal/testrig"
	"envoke/runtimes/bundle"
)

var hello = faas.Ref{Name: faas.Name{Language: faas.NodeJS, Title: "hello"}}

// put registers versions of the function hello, in the store and nowhere else.
func (c *control) put(t *testing.T, sources ...string) {
	t.Helper()
	for i, source := range sources {
		put := c.store.AddVersion
		if i == 0 {
			put = c.store.CreateFunction
		}
		if _, err := put(t.Context(), faas.Actor{}, faas.Function{Name: hello.Name, Script: faas.NewScript(faas.NodeJS, source, nil)}); err != nil {
			t.Fatal(err)
		}
	}
}

func (c *control) putAlias(t *testing.T, alias faas.Alias) {
	t.Helper()
	if _, err := c.store.PutAlias(t.Context(), faas.Actor{}, hello.Name, alias); err != nil {
		t.Fatal(err)
	}
}

// source is the code of the version that the host runs.
func source(t *testing.T, b *bundle.Bundles, ref faas.Ref, key string) string {
	t.Helper()
	f, err := b.Function(t.Context(), ref, key)
	if err != nil {
		t.Fatalf("%s: %v", ref, err)
	}
	return f.Script.Source
}

func TestFunction(t *testing.T) {
	c := newControl(t)
	b := newHost(t, c)
	if _, err := b.Function(t.Context(), hello, ""); !faas.IsNotFound(err) {
		t.Fatalf("Function = %v, want NOT_FOUND", err)
	}
	want := faas.Function{Name: hello.Name, Script: newSession(0).Script, Schema: []byte(`{"type":"object"}`), UserID: "u", Timeout: time.Second}
	if _, err := c.store.CreateFunction(t.Context(), faas.Actor{}, want); err != nil {
		t.Fatal(err)
	}
	c.FunctionChanged(t.Context(), hello.Name)
	c.wantAsked(t, 1)
	want.Version = 1
	for range 3 {
		got, err := b.Function(t.Context(), hello, "")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got.Function, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}
	c.wantAsked(t, 2) // the function and its script
}

// When FunctionChanged has returned, no host that watches answers with the old.
func TestFunctionChanges(t *testing.T) {
	c := newControl(t)
	hosts := []*bundle.Bundles{newHost(t, c), newHost(t, c)}
	prod := faas.Ref{Name: hello.Name, Alias: "prod"}
	c.put(t, "1")
	c.putAlias(t, faas.Alias{Name: "prod", Version: 1})
	wantAll := func(ref faas.Ref, want string) {
		t.Helper()
		for _, b := range hosts {
			if got := source(t, b, ref, ""); got != want {
				t.Errorf("%s runs %s, want %s", ref, got, want)
			}
		}
	}
	for version := 2; version <= 10; version++ {
		wantAll(hello, fmt.Sprint(version-1))
		wantAll(prod, fmt.Sprint(version-1))
		if _, err := c.store.AddVersion(t.Context(), faas.Actor{}, faas.Function{Name: hello.Name, Script: faas.NewScript(faas.NodeJS, fmt.Sprint(version), nil)}); err != nil {
			t.Fatal(err)
		}
		c.putAlias(t, faas.Alias{Name: "prod", Version: version})
		c.FunctionChanged(t.Context(), hello.Name)
	}
	if err := c.store.DeleteFunction(t.Context(), faas.Actor{}, hello.Name); err != nil {
		t.Fatal(err)
	}
	c.FunctionChanged(t.Context(), hello.Name)
	for _, b := range hosts {
		for _, ref := range []faas.Ref{hello, prod, {Name: hello.Name, Version: 1}} {
			if _, err := b.Function(t.Context(), ref, ""); !faas.IsNotFound(err) {
				t.Errorf("%s: %v, want NOT_FOUND", ref, err)
			}
		}
	}
}

// Every host checks the params of a session by the schema of its own version.
func TestParams(t *testing.T) {
	c := newControl(t)
	schemas := []string{`{"type":"string"}`, `{"type":"number"}`, ``}
	for i, raw := range schemas {
		put := c.store.AddVersion
		if i == 0 {
			put = c.store.CreateFunction
		}
		if _, err := put(t.Context(), faas.Actor{}, faas.Function{Name: hello.Name, Script: newSession(0).Script, Schema: []byte(raw)}); err != nil {
			t.Fatal(err)
		}
	}
	b := newHost(t, c)
	for version, accepts := range map[int]string{1: `"x"`, 2: `1`} {
		f, err := b.Function(t.Context(), faas.Ref{Name: hello.Name, Version: version}, "")
		if err != nil {
			t.Fatal(err)
		}
		s := newSession(time.Hour)
		s.Version, s.Schema = version, []byte(schemas[version-1])
		if err := c.CreateSession(t.Context(), s.Session, nil); err != nil {
			t.Fatal(err)
		}
		found, err := b.Session(t.Context(), s.ID)
		if err != nil {
			t.Fatal(err)
		}
		if found.Params != f.Params {
			t.Errorf("version %d has two schemas: it was compiled twice", version)
		}
		for _, params := range []string{`"x"`, `1`} {
			if err := found.Params.Validate([]byte(params)); (err == nil) != (params == accepts) {
				t.Errorf("version %d about %s: %v", version, params, err)
			}
		}
	}
	if f, err := b.Function(t.Context(), hello, ""); err != nil || f.Params != nil {
		t.Errorf("the version without a schema has %v, %v", f.Params, err)
	}
}

// A function that was deleted leaves its sessions running, and their params checked
// on every host: on one that made the session, one that fetches it, and one that
// fetches it after another function took the name.
func TestParamsOfDeletedFunction(t *testing.T) {
	c := newControl(t)
	refuses := func(b *bundle.Bundles, id faas.SessionID) {
		t.Helper()
		found, err := b.Session(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if found.Params == nil || found.Params.Validate([]byte(`1`)) == nil || found.Params.Validate([]byte(`"x"`)) != nil {
			t.Errorf("params are held against %v, want the schema of the deleted function", found.Params)
		}
	}
	register := func(schema string) {
		t.Helper()
		f := faas.Function{Name: hello.Name, Script: newSession(0).Script, Schema: []byte(schema)}
		if _, err := c.store.CreateFunction(t.Context(), faas.Actor{}, f); err != nil {
			t.Fatal(err)
		}
		c.FunctionChanged(t.Context(), hello.Name)
	}
	register(`{"type":"string"}`)
	maker, s := newHost(t, c), newSession(time.Hour)
	f, err := maker.Function(t.Context(), hello, "")
	if err != nil {
		t.Fatal(err)
	}
	s.Version, s.Schema, s.Params = f.Version, f.Schema, f.Params
	if err := maker.Create(t.Context(), s, false, loads); err != nil {
		t.Fatal(err)
	}
	if err := c.store.DeleteFunction(t.Context(), faas.Actor{}, hello.Name); err != nil {
		t.Fatal(err)
	}
	c.FunctionChanged(t.Context(), hello.Name)
	refuses(maker, s.ID)
	refuses(newHost(t, c), s.ID)
	register(`{"type":"number"}`)
	refuses(newHost(t, c), s.ID)
}

// A split goes by the key: each key keeps its version, and no question is asked
// once all versions are held.
func TestFunctionByWeight(t *testing.T) {
	c := newControl(t)
	b := newHost(t, c)
	c.put(t, "1", "2")
	c.putAlias(t, faas.Alias{Name: "prod", Version: 1, Weights: map[int]int{2: 50}})
	prod, picked := faas.Ref{Name: hello.Name, Alias: "prod"}, map[string]int{}
	for range 200 {
		id := string(key.NewID(faas.NodeJS, true))
		got := source(t, b, prod, id)
		if again := source(t, b, prod, id); again != got {
			t.Fatalf("%s got version %s, then %s", id, got, again)
		}
		picked[got]++
	}
	if picked["1"] < 60 || picked["2"] < 60 {
		t.Errorf("of 200 sessions versions got %v, want about halves", picked)
	}
	c.wantAsked(t, 2+2) // the alias, the other version, two scripts
}

// An answer that was on its way while the function changed is not held.
func TestChangeOutrunsFetch(t *testing.T) {
	c := newControl(t)
	b := newHost(t, c)
	c.put(t, "1")
	read, arrive := make(chan struct{}), make(chan struct{})
	once := sync.OnceFunc(func() { close(read); <-arrive })
	c.inject(func(_ context.Context, in any) error {
		if _, ok := in.(*controlpb.FindFunctionRequest); ok {
			once()
		}
		return nil
	})
	var fetching sync.WaitGroup
	fetching.Go(func() { _, _ = b.Function(t.Context(), hello, "") })
	<-read
	c.fault.Store(nil)
	if _, err := c.store.AddVersion(t.Context(), faas.Actor{}, faas.Function{Name: hello.Name, Script: faas.NewScript(faas.NodeJS, "2", nil)}); err != nil {
		t.Fatal(err)
	}
	c.FunctionChanged(t.Context(), hello.Name)
	close(arrive)
	fetching.Wait()
	if got := source(t, b, hello, ""); got != "2" {
		t.Errorf("version %s is served", got)
	}
}

// With control away, functions that are held are served and others are refused.
func TestFunctionWithoutControl(t *testing.T) {
	c := newControl(t)
	b := newHost(t, c)
	c.put(t, "1")
	source(t, b, hello, "")
	c.stop()
	for until := time.Now().Add(time.Second); time.Now().Before(until); {
		source(t, b, hello, "")
	}
	_, err := b.Function(t.Context(), faas.Ref{Name: hello.Name, Version: 1}, "")
	wantUnavailable(t, err)
	// What changed meanwhile is known once control is back.
	if _, err := c.store.AddVersion(t.Context(), faas.Actor{}, faas.Function{Name: hello.Name, Script: faas.NewScript(faas.NodeJS, "2", nil)}); err != nil {
		t.Fatal(err)
	}
	c.start(t)
	testrig.Eventually(t, "the new version is served", func() bool { return source(t, b, hello, "") == "2" })
}

func BenchmarkFunction(b *testing.B) {
	c := newControl(b)
	host := newHost(b, c)
	if _, err := c.store.CreateFunction(b.Context(), faas.Actor{}, faas.Function{Name: hello.Name, Script: faas.NewScript(faas.NodeJS, "1", nil)}); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := host.Function(b.Context(), hello, "request"); err != nil {
			b.Fatal(err)
		}
	}
}
