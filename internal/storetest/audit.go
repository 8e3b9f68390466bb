package storetest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"envoke/internal/faas"
)

// root is who makes the suite's changes of which it asks who has made them.
var root = faas.Actor{UserID: "root 'ü' 日本", Proof: "key 4fK2mQ9xZt0B", Address: "2001:db8::1", RequestID: "rid"}

func mustListAudit(t *testing.T, store Store, q faas.AuditQuery) []faas.AuditEntry {
	t.Helper()
	q.Page, q.PerPage = 1, 100
	entries, total, err := store.ListAudit(t.Context(), q)
	wantCode(t, "list changes", err, "")
	equal(t, "total", total, len(entries))
	return entries
}

// audited is a change, and what is told of it.
type audited struct {
	name   string
	do     func(context.Context) error
	again  faas.Code // of doing it once more; "": it changes again
	action faas.Action
	target string
	detail string
}

// nothing is what doing a thing again does, without an error.
const nothing = faas.Code("nothing")

// changes are one of each kind that is audited, in an order in which they can be made.
func changes(store Store) []audited {
	f := newFunction("f", "return 1")
	f.UserID = "ada"
	f.Environment = faas.Environment{"A": {Text: "a text"}}
	k := newKey("ada")
	k.Languages, k.ExpiresAt = []faas.Language{faas.Python}, epoch
	digest := string(f.Script.Digest)
	secret := faas.Secret{Owner: "ada", Name: "S", Key: "k1", Sealed: []byte("sealed")}
	resealed := faas.Secret{Owner: "ada", Name: "S", Key: "k2", Sealed: []byte("anew")}
	alias := faas.Alias{Name: "prod", Version: 1, Weights: map[int]int{2: 10}, Environment: faas.Environment{"A": {Text: "a text"}}}
	noValue := func(_ any, err error) error { return err }
	config := faas.NewConfig("{}", "ada")
	return []audited{
		{"register", func(ctx context.Context) error { return noValue(store.CreateFunction(ctx, root, f)) }, faas.Conflict, faas.FunctionRegister, "nodejs-f", `{"digest":"` + digest + `","owner":"ada","version":1}`},
		{"add a version", func(ctx context.Context) error { return noValue(store.AddVersion(ctx, root, f)) }, "", faas.VersionAdd, "nodejs-f", `{"digest":"` + digest + `","owner":"ada","version":2}`},
		{"activate", func(ctx context.Context) error { return store.SetCurrentVersion(ctx, root, f.Name, 1) }, "", faas.VersionActivate, "nodejs-f", `{"version":1}`},
		{"put an alias", func(ctx context.Context) error { return noValue(store.PutAlias(ctx, root, f.Name, alias)) }, "", faas.AliasPut, "nodejs-f:prod", `{"environment":"given","version":1,"weights":{"2":10}}`},
		{"delete an alias", func(ctx context.Context) error { return store.DeleteAlias(ctx, root, f.Name, "prod") }, faas.NotFound, faas.AliasDelete, "nodejs-f:prod", `{}`},
		{"delete a function", func(ctx context.Context) error { return store.DeleteFunction(ctx, root, f.Name) }, faas.NotFound, faas.FunctionDelete, "nodejs-f", `{"versions":3}`},
		{"create a key", func(ctx context.Context) error { return store.CreateKey(ctx, root, k) }, faas.Conflict, faas.KeyCreate, k.ID, `{"expires_at":"2025-03-01T12:30:15.123456Z","languages":["python"],"name":"a key","scopes":["execute:all"],"user_id":"ada"}`},
		{"revoke a key", func(ctx context.Context) error { return store.RevokeKey(ctx, root, "", k.ID) }, nothing, faas.KeyRevoke, k.ID, `{"user_id":"ada"}`},
		{"put a secret", func(ctx context.Context) error { return store.PutSecret(ctx, root, secret) }, "", faas.SecretPut, "S", `{"owner":"ada"}`},
		{"reseal a secret", func(ctx context.Context) error { return store.ResealSecret(ctx, root, resealed, secret.Sealed) }, nothing, faas.SecretReseal, "S", `{"owner":"ada"}`},
		{"delete a secret", func(ctx context.Context) error { return store.DeleteSecret(ctx, root, "ada", "S") }, faas.NotFound, faas.SecretDelete, "S", `{"owner":"ada"}`},
		{"put a config", func(ctx context.Context) error { return noValue(store.PutConfig(ctx, root, config, 0)) }, faas.Conflict, faas.ConfigPut, "config", `{"bytes":2,"digest":"` + string(config.Digest) + `","version":1}`},
		{"roll a config back", func(ctx context.Context) error { return store.SetCurrentConfig(ctx, root, 1, 1) }, "", faas.ConfigRollback, "config", `{"version":1}`},
	}
}

// RunUnaudited tests that nothing changes where it cannot be audited: refuse has the database
// refuse such rows, or take them again.
func RunUnaudited(t *testing.T, store Store, refuse func(refused bool)) {
	for _, c := range changes(store) {
		refuse(true)
		if err := c.do(t.Context()); err == nil {
			t.Errorf("%s: no error, and no row of it", c.name)
		}
		refuse(false)
		wantCode(t, c.name+", which was undone", c.do(t.Context()), "")
		last := mustListAudit(t, store, faas.AuditQuery{})[0]
		equal(t, c.name, []string{string(last.Action), string(last.Details)}, []string{string(c.action), c.detail})
		if c.action == faas.VersionAdd { // which the last number of versions counts
			wantCode(t, c.name, c.do(t.Context()), "")
		}
	}
}

// testAudit: each change has its row, made with it, and what changes nothing has none.
func testAudit(t *testing.T, open Open) {
	store := fresh(t, open)
	wantRows := func(what string, want int) faas.AuditEntry {
		t.Helper()
		entries := mustListAudit(t, store, faas.AuditQuery{})
		if len(entries) != want {
			t.Fatalf("after %s there are %d rows, want %d", what, len(entries), want)
		}
		return entries[0]
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	rows, seen := 0, map[faas.Action]bool{faas.SessionDelete: true} // which has a test of its own
	for _, c := range changes(store) {
		if err := c.do(cancelled); err == nil {
			t.Errorf("%s: no error without a context", c.name)
		}
		before := time.Now().Truncate(time.Microsecond)
		wantCode(t, c.name, c.do(t.Context()), "")
		rows++
		got := wantRows(c.name, rows)
		equal(t, c.name, got, faas.AuditEntry{
			Number: got.Number, At: got.At, Action: c.action, Target: c.target, Actor: root, Details: []byte(c.detail),
		})
		if got.At.Before(before) || got.At.After(time.Now()) {
			t.Errorf("%s: it was at %v", c.name, got.At)
		}
		switch err := c.do(t.Context()); c.again {
		case "":
			wantCode(t, c.name+" again", err, "")
			rows++
		case nothing:
			wantCode(t, c.name+" again", err, "")
		default:
			wantCode(t, c.name+" again", err, c.again)
		}
		wantRows(c.name+" again", rows)
		seen[c.action] = true
	}
	for _, action := range faas.Actions() {
		if !seen[action] {
			t.Errorf("%s is not tested", action)
		}
	}
}

// testAuditedSessions: their own users end sessions without a word.
func testAuditedSessions(t *testing.T, open Open) {
	store := fresh(t, open)
	for _, test := range []struct {
		user string
		by   faas.Actor
		rows int
	}{
		{"ada", faas.Actor{UserID: "ada"}, 0},
		{"", faas.Actor{}, 0},
		{"ada", faas.Itself(), 0},
		{"ada", root, 1},
	} {
		session, script := newSession("s", "return 1")
		session.UserID = test.user
		mustCreate(t, store, session, script)
		wantCode(t, "delete", store.DeleteSession(t.Context(), test.by, session.ID), "")
		entries := mustListAudit(t, store, faas.AuditQuery{})
		if len(entries) != test.rows {
			t.Fatalf("%q ends a session of %q: %d rows", test.by.UserID, test.user, len(entries))
		}
		wantCode(t, "delete again", store.DeleteSession(t.Context(), test.by, session.ID), faas.NotFound)
		for _, e := range entries {
			equal(t, "row", []string{string(e.Action), e.Target, string(e.Details)}, []string{"session.delete", string(session.ID), `{"user_id":"ada"}`})
		}
	}
}

func testListAudit(t *testing.T, open Open) {
	place := t.TempDir()
	store := open(t, place)
	put := func(user, name string) {
		t.Helper()
		wantCode(t, "put", store.PutSecret(t.Context(), faas.Actor{UserID: user}, faas.Secret{Owner: "o", Name: name, Key: "k", Sealed: []byte("x")}), "")
	}
	put("ada", "A")
	put("bob", "A")
	put("ada", "B")
	wantCode(t, "delete", store.DeleteSecret(t.Context(), faas.Actor{}, "o", "A"), "")
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	store = open(t, place)
	defer store.Close()
	all := mustListAudit(t, store, faas.AuditQuery{})
	third := all[len(all)-3].At
	for _, test := range []struct {
		name string
		q    faas.AuditQuery
		want string
	}{
		{"all", faas.AuditQuery{}, "secret.delete A, ada B, bob A, ada A"},
		{"of a user", faas.AuditQuery{UserID: "ada"}, "ada B, ada A"},
		{"of nobody known", faas.AuditQuery{UserID: "eve"}, ""},
		{"of an action", faas.AuditQuery{Action: faas.SecretDelete}, "secret.delete A"},
		{"of a target", faas.AuditQuery{Target: "B"}, "ada B"},
		{"since", faas.AuditQuery{Since: third}, "secret.delete A, ada B"},
		{"until", faas.AuditQuery{Until: third}, "bob A, ada A"},
		{"between", faas.AuditQuery{Since: third, Until: third.Add(time.Microsecond), UserID: "ada", Action: faas.SecretPut, Target: "B"}, "ada B"},
	} {
		var got []string
		for _, e := range mustListAudit(t, store, test.q) {
			who := e.Actor.UserID
			if who == "" {
				who = string(e.Action)
			}
			got = append(got, who+" "+e.Target)
		}
		equal(t, test.name, strings.Join(got, ", "), test.want)
	}
	for page, want := range []string{"A B A", "A", ""} {
		entries, total, err := store.ListAudit(t.Context(), faas.AuditQuery{Page: page + 1, PerPage: 3})
		wantCode(t, "list", err, "")
		var got []string
		for _, e := range entries {
			got = append(got, e.Target)
		}
		equal(t, fmt.Sprint("page ", page+1), []any{strings.Join(got, " "), total}, []any{want, 4})
	}
}
