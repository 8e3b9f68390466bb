package bundle_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"envoke/internal/faas"
	"envoke/runtimes/bundle"
)

// values are those of ada's secrets that a test has set.
func (c *control) values(_ context.Context, owner string, _ []string) (faas.Secrets, error) {
	secrets := c.secrets.Load()
	if owner != "ada" || secrets == nil {
		return nil, nil
	}
	return *secrets, nil
}

func (c *control) setSecrets(t *testing.T, secrets faas.Secrets) {
	t.Helper()
	c.secrets.Store(&secrets)
	c.SecretsChanged(t.Context())
}

func wantVariables(t *testing.T, v bundle.Variables, want string) {
	t.Helper()
	got := fmt.Sprint(v.Values())
	if err := v.Err(); err != nil {
		got = fmt.Sprint(faas.AsError(err).Details["secret"], " is missing")
	}
	if got != want {
		t.Errorf("the worker finds %s, want %s", got, want)
	}
}

// TestSecretsChange: when SecretsChanged has returned, no host that watches has the old value,
// of functions, through aliases and in sessions; what has no secrets is not asked for again.
func TestSecretsChange(t *testing.T) {
	c := newControl(t)
	b := newHost(t, c)
	put := func(put func(context.Context, faas.Actor, faas.Function) (faas.Function, error), owner string, e faas.Environment) {
		t.Helper()
		if _, err := put(t.Context(), faas.Actor{}, faas.Function{Name: hello.Name, Script: newSession(0).Script, UserID: owner, Environment: e}); err != nil {
			t.Fatal(err)
		}
	}
	put(c.store.CreateFunction, "ada", faas.Environment{"A": {Text: "a"}, "S": {Secret: "ONE"}})
	put(c.store.AddVersion, "ada", faas.Environment{"A": {Text: "second"}})
	c.putAlias(t, faas.Alias{Name: "prod", Version: 1, Weights: map[int]int{2: 100}, Environment: faas.Environment{"M": {Secret: "TWO"}}})
	of := func(ref faas.Ref) bundle.Variables {
		t.Helper()
		f, err := b.Function(t.Context(), ref, "key")
		if err != nil {
			t.Fatal(err)
		}
		return f.Variables
	}
	first, second := faas.Ref{Name: hello.Name, Version: 1}, faas.Ref{Name: hello.Name, Version: 2}
	prod := faas.Ref{Name: hello.Name, Alias: "prod"}

	session := newSession(time.Hour)
	session.Owner, session.Version, session.Environment = "function:ada", 1, faas.Environment{"S": {Secret: "ONE"}}
	if err := c.CreateSession(t.Context(), session.Session, nil); err != nil {
		t.Fatal(err)
	}
	found := func() bundle.Variables {
		t.Helper()
		s, err := b.Session(t.Context(), session.ID)
		if err != nil {
			t.Fatal(err)
		}
		return s.Variables
	}
	wantVariables(t, of(first), "ONE is missing")
	wantVariables(t, found(), "ONE is missing")
	for n := range 3 {
		c.setSecrets(t, faas.Secrets{"ONE": fmt.Sprint("one", n), "TWO": fmt.Sprint("two", n)})
		wantVariables(t, of(first), fmt.Sprintf("map[A:a S:one%d]", n))
		wantVariables(t, of(prod), fmt.Sprintf("map[A:second M:two%d]", n))
		wantVariables(t, of(second), "map[A:second]")
		wantVariables(t, found(), fmt.Sprintf("map[S:one%d]", n))
	}
	c.asked.Store(0)
	old := of(first)
	of(second)
	of(prod)
	found()
	c.wantAsked(t, 0)
	c.SecretsChanged(t.Context())
	of(second)
	c.wantAsked(t, 0)
	if of(first).ID() != old.ID() {
		t.Error("the same values are another worker's")
	}
	c.wantAsked(t, 1)
	c.setSecrets(t, nil)
	wantVariables(t, of(first), "ONE is missing")

	c.stop() // then what is held goes on
	wantVariables(t, of(first), "ONE is missing")
	wantVariables(t, of(second), "map[A:second]")
}

// TestSecretsOfAnother: a function has its own owner's secrets.
func TestSecretsOfAnother(t *testing.T) {
	c := newControl(t)
	b := newHost(t, c)
	c.setSecrets(t, faas.Secrets{"ONE": "ada's"})
	function := faas.Function{Name: hello.Name, Script: newSession(0).Script, UserID: "bob", Environment: faas.Environment{"S": {Secret: "ONE"}}}
	if _, err := c.store.CreateFunction(t.Context(), faas.Actor{}, function); err != nil {
		t.Fatal(err)
	}
	f, err := b.Function(t.Context(), hello, "")
	if err != nil {
		t.Fatal(err)
	}
	wantVariables(t, f.Variables, "ONE is missing")
}
