package postgres_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"envoke/internal/faas"
	"envoke/internal/postgres"
	"envoke/internal/testrig"
)

// ear is what a follower has heard.
type ear struct {
	mu      sync.Mutex
	changes []faas.Change
	lost    int
}

func (e *ear) hear(c faas.Change) { e.mu.Lock(); e.changes = append(e.changes, c); e.mu.Unlock() }
func (e *ear) lose(error)         { e.mu.Lock(); e.lost++; e.mu.Unlock() }

func (e *ear) has(want faas.Change) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Contains(e.changes, want)
}

func (e *ear) forget() { e.mu.Lock(); e.changes = nil; e.mu.Unlock() }

func (e *ear) losses() int { e.mu.Lock(); defer e.mu.Unlock(); return e.lost }

func follow(t *testing.T, s *postgres.Store) *ear {
	t.Helper()
	e := &ear{}
	testrig.Serve(t, func(ctx context.Context) error { return s.FollowChanges(ctx, e.hear, e.lose) })
	return e
}

func named(title string) faas.Name { return faas.Name{Language: faas.NodeJS, Title: title} }

func function(title, source string) faas.Function {
	return faas.Function{Name: named(title), Script: faas.NewScript(faas.NodeJS, source, nil)}
}

// hears makes changes until the follower has heard one: it may not listen yet.
func (e *ear) hears(t *testing.T, s *postgres.Store, title string) {
	t.Helper()
	if _, err := s.CreateFunction(t.Context(), faas.Actor{}, function(title, "return 0")); err != nil {
		t.Fatal(err)
	}
	testrig.Eventually(t, "the follower listens", func() bool {
		if _, err := s.AddVersion(t.Context(), faas.Actor{}, function(title, "return 0")); err != nil {
			t.Fatal(err)
		}
		return e.has(faas.Change{Function: named(title)})
	})
	e.forget()
}

// Every change that somebody may remember otherwise is told to all, by whom it may be.
func TestChangesAreHeard(t *testing.T) {
	address := testrig.Postgres(t)
	one, two := open(t, address), open(t, address)
	defer one.Close()
	defer two.Close()
	e := follow(t, two)
	e.hears(t, one, "begin")
	must := func(what string, err error, want faas.Change) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		testrig.Eventually(t, what+" is heard", func() bool { return e.has(want) })
		e.forget()
	}
	f := faas.Change{Function: named("f")}
	_, err := one.CreateFunction(t.Context(), faas.Actor{}, function("f", "return 1"))
	must("a new function", err, f)
	_, err = one.AddVersion(t.Context(), faas.Actor{}, function("f", "return 2"))
	must("a new version", err, f)
	must("a rollback", one.SetCurrentVersion(t.Context(), faas.Actor{}, named("f"), 1), f)
	_, err = one.PutAlias(t.Context(), faas.Actor{}, named("f"), faas.Alias{Name: "a", Version: 1})
	must("an alias", err, f)
	must("the end of an alias", one.DeleteAlias(t.Context(), faas.Actor{}, named("f"), "a"), f)
	must("the end of a function", one.DeleteFunction(t.Context(), faas.Actor{}, named("f")), f)

	other := function("f", "return 1")
	other.Name.Namespace = "team-a"
	f.Function = other.Name
	_, err = one.CreateFunction(t.Context(), faas.Actor{}, other)
	must("a function of another namespace", err, f)
	_, err = one.PutAlias(t.Context(), faas.Actor{}, other.Name, faas.Alias{Name: "a", Version: 1})
	must("an alias there", err, f)
	must("the end of a function there", one.DeleteFunction(t.Context(), faas.Actor{}, other.Name), f)

	secret := faas.Secret{Owner: "o", Name: "S", Key: "k", Sealed: []byte("x")}
	must("a secret", one.PutSecret(t.Context(), faas.Actor{}, secret), faas.Change{Secrets: true})
	must("a changed secret", one.PutSecret(t.Context(), faas.Actor{}, secret), faas.Change{Secrets: true})
	must("the end of a secret", one.DeleteSecret(t.Context(), faas.Actor{}, "o", "S"), faas.Change{Secrets: true})

	_, err = one.PutConfig(t.Context(), faas.Actor{}, faas.NewConfig("{}", ""), faas.AnyConfig)
	must("a config", err, faas.Change{Config: true})
	must("a config that is rolled back", one.SetCurrentConfig(t.Context(), faas.Actor{}, 1, faas.AnyConfig), faas.Change{Config: true})

	session, script := newSession("s")
	if err := one.CreateSession(t.Context(), session, &script); err != nil {
		t.Fatal(err)
	}
	must("the end of a session", one.DeleteSession(t.Context(), faas.Actor{}, session.ID), faas.Change{Session: session.ID})
	id, text := faas.NewKeySecret()
	err = one.CreateKey(t.Context(), faas.Actor{}, faas.APIKey{ID: id, UserID: "ada", Hash: faas.HashKeySecret(text), CreatedAt: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	if err := one.NoteKeyUses(t.Context(), map[string]time.Time{id: time.Now()}); err != nil {
		t.Fatal(err)
	}
	must("the end of a key", one.RevokeKey(t.Context(), faas.Actor{}, "", id), faas.Change{Key: id})
	if told := query[int](t, address, "SELECT count(*) FROM meta.changes WHERE kind = 'key'"); told != 1 {
		t.Errorf("keys have %d changes: its use is none", told)
	}
	if n := e.losses(); n != 0 {
		t.Errorf("the connection was lost %d times", n)
	}
}

// What is changed while a follower's connection is away is heard when it is back.
func TestChangesAreNotMissed(t *testing.T) {
	server := testrig.NewPostgres(t)
	address := server.NewDatabase(t)
	one, two := open(t, address), open(t, address)
	defer one.Close()
	defer two.Close()
	e := follow(t, two)
	e.hears(t, one, "begin")
	admin, err := pgx.Connect(t.Context(), server.Address("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = admin.Close(context.Background()) }()
	database := pgx.Identifier{address[strings.LastIndexByte(address, '/')+1 : strings.IndexByte(address, '?')]}.Sanitize()
	run := func(statement string) {
		t.Helper()
		if _, err := admin.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	run("ALTER DATABASE " + database + " ALLOW_CONNECTIONS false") // connections that there are go on
	run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT revision%' OR query LIKE 'DELETE FROM meta.changes%' OR query LIKE 'LISTEN%'")
	testrig.Eventually(t, "the connection is lost, and no other to be had", func() bool { return e.losses() > 2 })
	if _, err := one.CreateFunction(t.Context(), faas.Actor{}, function("meanwhile", "return 1")); err != nil {
		t.Fatal(err)
	}
	run("ALTER DATABASE " + database + " ALLOW_CONNECTIONS true")
	testrig.Eventually(t, "it is heard", func() bool { return e.has(faas.Change{Function: named("meanwhile")}) })
}
