package main

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"envoke/internal/faas"
	"envoke/internal/routing"
	"envoke/xds"
)

// TestVerdict: what Envoys made of routes is known when all have said so, and one that has
// refused them is believed until others come.
func TestVerdict(t *testing.T) {
	since := time.Now()
	later, before := since.Add(time.Millisecond), since.Add(-time.Millisecond)
	nodes := func(synced ...bool) (all []xds.Node) {
		for _, s := range synced {
			all = append(all, xds.Node{ID: "n", Synced: s})
		}
		return all
	}
	for name, test := range map[string]struct {
		status xds.Status
		want   routing.State
	}{
		"none connected":    {xds.Status{}, routing.Pending},
		"one has it":        {xds.Status{Nodes: nodes(true)}, routing.Live},
		"one of two has it": {xds.Status{Nodes: nodes(true, false)}, routing.Pending},
		"refused":           {xds.Status{Nodes: nodes(false), Nack: &xds.Nack{Time: later, Type: "route", Message: "bad"}}, routing.Refused},
		"put back since":    {xds.Status{Nodes: nodes(true), Nack: &xds.Nack{Time: later, Type: "cluster", Message: "bad"}}, routing.Refused},
		"refused before":    {xds.Status{Nodes: nodes(true), Nack: &xds.Nack{Time: before, Type: "route"}}, routing.Live},
		"another refusal":   {xds.Status{Nodes: nodes(true), Nack: &xds.Nack{Time: later, Type: "filter"}}, routing.Live},
	} {
		got, message := verdict(test.status, since)
		if got != test.want || (message != "") != (got == routing.Refused) {
			t.Errorf("%s: %s %q, want %s", name, got, message, test.want)
		}
	}
}

// stored is a config in a store that may be away.
type stored struct {
	faas.Config

	err error
}

func newDeclared(at *stored) *declaredRoutes {
	r := &declaredRoutes{
		current: func(context.Context) (faas.Config, error) { return at.Config, at.err },
		envoys:  func() xds.Status { return xds.Status{Nodes: []xds.Node{{Synced: true}}} },
		logger:  slog.New(slog.DiscardHandler), changed: make(chan struct{}, 1), again: make(chan struct{}, 1),
	}
	r.sources = routing.NewSources(func() { r.declared.Add(1); wake(r.changed) })
	return r
}

// TestWhatCannotBeTold: of routes that make no snapshot those before are told again, with all
// else that has changed; what is about something else is an error.
func TestWhatCannotBeTold(t *testing.T) {
	at := &stored{Config: faas.Config{Version: 1, Document: routeOf("one")}}
	r := newDeclared(at)
	var told []string
	tell := func(declared routing.Routing) error {
		name := ""
		for _, route := range declared.Routes {
			name = route.Name
		}
		if told = append(told, name); name == "bad" {
			return errors.New("no snapshot")
		}
		return nil
	}
	take := func(version int, name string) {
		t.Helper()
		at.Version, at.Document = version, routeOf(name)
		if err := r.load(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s := r.Standing(); s.State != routing.Pending || s.Version != version {
			t.Errorf("before Envoy was told it stands so: %+v", s)
		}
		if err := r.publish(tell); err != nil {
			t.Error(err)
		}
	}
	take(1, "one")
	if s := r.Standing(); s.State != routing.Live {
		t.Errorf("it stands so: %+v", s)
	}
	take(2, "bad")
	if s := r.Standing(); s.State != routing.Refused || s.Message != "no snapshot" {
		t.Errorf("it stands so: %+v", s)
	}
	if err := r.publish(tell); err != nil { // of other news
		t.Error(err)
	}
	if got := strings.Join(told, " "); got != "one bad one bad one" {
		t.Errorf("told was %s", got)
	}
	take(3, "three")
	if s := r.Standing(); s.State != routing.Live {
		t.Errorf("it stands so: %+v", s)
	}
	other := errors.New("about something else")
	if err := r.publish(func(routing.Routing) error { return other }); !errors.Is(err, other) {
		t.Errorf("it says %v", err)
	}
}

// TestFaultyInTheStore: a config that an older version took, and this one does not, changes
// nothing; a store that is away neither.
func TestFaultyInTheStore(t *testing.T) {
	at := &stored{Config: faas.Config{Version: 1, Document: routeOf("one")}}
	r := newDeclared(at)
	if err := r.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	at.err = errors.New("away")
	r.ConfigChanged(t.Context())
	select {
	case <-r.again:
	default:
		t.Error("it is not tried again")
	}
	at.Config, at.err = faas.Config{Version: 2, Document: "colour: red"}, nil
	if err := r.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := r.Standing()
	if s.State != routing.Refused || !strings.Contains(s.Message, "colour: is not known") || s.Version != 2 || r.sources.Merged().Routes[0].Name != "one" {
		t.Errorf("it stands so: %+v", s)
	}
	at.Config, at.err = faas.Config{}, faas.ErrNoConfig
	if err := r.load(t.Context()); err != nil || len(r.sources.Merged().Routes) != 0 {
		t.Errorf("without a config there are %+v (%v)", r.sources.Merged(), err)
	}
}
