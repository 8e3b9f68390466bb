package storetest

import (
	"testing"
	"time"

	"envoke/internal/faas"
)

const team faas.Namespace = "team-a"

// inTeam is the function of the same name in the team's namespace.
func inTeam(f faas.Function) faas.Function {
	f.Name.Namespace = team
	return f
}

// testNamespaces: what is in one is not there in another, by the same names and users.
func testNamespaces(t *testing.T, open Open) {
	store := fresh(t, open)
	ours, theirs := newFunction("f", "return 'ours'"), inTeam(newFunction("f", "return 'theirs'"))
	ours.UserID, theirs.UserID = "ann", "ann"
	ours, theirs = mustPut(t, store, ours), mustPut(t, store, theirs)
	equal(t, "version of the second", theirs.Version, 1)
	_, err := store.CreateFunction(t.Context(), faas.Actor{}, theirs)
	wantCode(t, "create again", err, faas.Conflict)

	next := inTeam(newFunction("f", "return 'theirs, anew'"))
	next, err = store.AddVersion(t.Context(), faas.Actor{}, next)
	wantCode(t, "add a version", err, "")
	equal(t, "its number", next.Version, 2)
	mustPutAlias(t, store, theirs.Name, faas.Alias{Name: "prod", Version: 1})
	for _, want := range []struct {
		ref    faas.Ref
		source string // empty: there is none
	}{
		{faas.Ref{Name: ours.Name}, "return 'ours'"},
		{faas.Ref{Name: ours.Name, Version: 2}, ""},
		{faas.Ref{Name: ours.Name, Alias: "prod"}, ""},
		{faas.Ref{Name: theirs.Name}, "return 'theirs, anew'"},
		{faas.Ref{Name: theirs.Name, Alias: "prod"}, "return 'theirs'"},
		{faas.Ref{Name: ours.Name}.In("team-b"), ""},
	} {
		f, err := store.FindFunction(t.Context(), want.ref)
		if want.source == "" {
			wantCode(t, "find "+want.ref.Key(), err, faas.NotFound)
			continue
		}
		wantCode(t, "find "+want.ref.Key(), err, "")
		equal(t, want.ref.Key(), f.Script.Source, want.source)
		equal(t, "its name", f.Name, want.ref.Name)
	}
	wantVersions(t, store, ours.Name, 1)
	wantVersions(t, store, theirs.Name, 2)
	aliases, err := store.ListAliases(t.Context(), ours.Name)
	wantCode(t, "list aliases", err, "")
	equal(t, "aliases", len(aliases), 0)
	wantCode(t, "set a version of another's", store.SetCurrentVersion(t.Context(), faas.Actor{}, ours.Name, 2), faas.NotFound)
	wantCode(t, "delete an alias of another's", store.DeleteAlias(t.Context(), faas.Actor{}, ours.Name, "prod"), faas.NotFound)

	wantCode(t, "delete", store.DeleteFunction(t.Context(), faas.Actor{}, ours.Name), "")
	wantVersions(t, store, theirs.Name, 2)
	wantCode(t, "delete again", store.DeleteFunction(t.Context(), faas.Actor{}, ours.Name), faas.NotFound)
	for name, want := range map[faas.Name]bool{ours.Name: true, {Namespace: "team-b", Language: faas.NodeJS, Title: "f"}: false} {
		known, err := store.EverRegistered(t.Context(), name)
		wantCode(t, "look for "+name.Key(), err, "")
		equal(t, "ever registered: "+name.Key(), known, want)
	}
}

func wantVersions(t *testing.T, store Store, name faas.Name, want int) {
	t.Helper()
	versions, err := store.ListVersions(t.Context(), name)
	wantCode(t, "list versions", err, "")
	equal(t, "versions of "+name.Key(), len(versions), want)
}

func testListNamespaces(t *testing.T, open Open) {
	store := fresh(t, open)
	mustPut(t, store, newFunction("ours", "1"))
	mustPut(t, store, inTeam(newFunction("theirs", "1")))
	own, script := newSession("ours-dynamic", "return 1")
	mustCreate(t, store, own, script)
	other, _ := newSession("theirs-dynamic", "return 1")
	other.Name.Namespace, other.UserID = team, "ann"
	mustCreate(t, store, other, script)
	equal(t, "the session", mustFind(t, store, other.ID), other)
	for namespace, want := range map[faas.Namespace][]string{
		"": {"nodejs-ours-dynamic", "nodejs-ours"}, team: {"nodejs-theirs-dynamic", "nodejs-theirs"}, "team-b": nil,
	} {
		found, total, err := store.ListFunctions(t.Context(), faas.FunctionQuery{Namespace: namespace, Page: 1, PerPage: 10})
		wantCode(t, "list", err, "")
		equal(t, "total of "+namespace.String(), total, len(want))
		equal(t, "functions of "+namespace.String(), names(found), want)
		for _, f := range found {
			equal(t, "namespace of "+f.Name.String(), f.Name.Namespace, namespace)
		}
	}
	rows := []faas.RequestLog{
		{RequestID: "ours", Operation: faas.Execute, StartedAt: epoch, UserID: "ann"},
		{RequestID: "theirs", Operation: faas.Execute, StartedAt: epoch, UserID: "ann", Namespace: team},
	}
	wantCode(t, "append", store.AppendRequestLogs(t.Context(), file, 1, rows), "")
	logs, err := store.LatestRequestLogs(t.Context(), faas.RequestLogQuery{Limit: 10})
	wantCode(t, "read", err, "")
	equal(t, "namespaces of rows", []faas.Namespace{logs[0].Namespace, logs[1].Namespace}, []faas.Namespace{team, ""})
}

func testKeysOfNamespaces(t *testing.T, open Open) {
	store := fresh(t, open)
	ours, theirs := mustCreateKey(t, store, "ann"), newKey("ann")
	theirs.Namespace = team
	wantCode(t, "create", store.CreateKey(t.Context(), faas.Actor{}, theirs), "")
	for _, want := range []faas.APIKey{ours, theirs} {
		equal(t, "key", mustFindKey(t, store, want.Hash), want)
		for _, user := range []string{"", "ann"} {
			found, total, err := store.ListKeys(t.Context(), faas.KeyQuery{Namespace: want.Namespace, UserID: user, Page: 1, PerPage: 10})
			wantCode(t, "list", err, "")
			equal(t, "total", total, 1)
			equal(t, "keys", found, []faas.APIKey{want})
		}
	}
	wantCode(t, "revoke another's", store.RevokeKey(t.Context(), faas.Actor{}, "", theirs.ID), faas.NotFound)
	wantCode(t, "revoke another's", store.RevokeKey(t.Context(), faas.Actor{}, team, ours.ID), faas.NotFound)
	wantCode(t, "revoke", store.RevokeKey(t.Context(), faas.Actor{}, team, theirs.ID), "")
	if !mustFindKey(t, store, ours.Hash).RevokedAt.IsZero() || mustFindKey(t, store, theirs.Hash).RevokedAt.IsZero() {
		t.Error("it is another key that was revoked")
	}

	for owner, sealed := range map[string]string{"ann": "ours", faas.OwnerOf(team, "ann"): "theirs"} {
		wantCode(t, "put", store.PutSecret(t.Context(), faas.Actor{}, faas.Secret{Owner: owner, Name: "S", Key: "k", Sealed: []byte(sealed)}), "")
	}
	wantCode(t, "delete ours", store.DeleteSecret(t.Context(), faas.Actor{}, "ann", "S"), "")
	secret, err := store.FindSecret(t.Context(), faas.OwnerOf(team, "ann"), "S")
	wantCode(t, "find theirs", err, "")
	equal(t, "theirs", string(secret.Sealed), "theirs")
}

// FillNamespaces puts into a store what MigratedNamespaces looks for after its tables have lost
// namespaces and got them again.
func FillNamespaces(t *testing.T, store Store) {
	t.Helper()
	ours := mustPut(t, store, newFunction("f", "return 'ours'"))
	again := newFunction("f", "return 'ours, anew'")
	again.Timeout, again.Tags, again.UserID = time.Second, []string{"tag"}, "ann"
	_, err := store.AddVersion(t.Context(), faas.Actor{}, again)
	wantCode(t, "add a version", err, "")
	mustPutAlias(t, store, ours.Name, faas.Alias{Name: "prod", Version: 1, Environment: faas.Environment{"A": {Text: "x"}}})
	mustPut(t, store, inTeam(newFunction("f", "return 'theirs'")))
	for _, n := range []faas.Namespace{"", team} {
		k := newKey("ann")
		k.Namespace = n
		wantCode(t, "create key", store.CreateKey(t.Context(), faas.Actor{}, k), "")
		wantCode(t, "put secret", store.PutSecret(t.Context(), faas.Actor{}, faas.Secret{Owner: faas.OwnerOf(n, "ann"), Name: "S", Key: "k", Sealed: []byte("x")}), "")
		session, script := newSession("s", "return '"+n.String()+"'")
		session.Name.Namespace = n
		mustCreate(t, store, session, script)
	}
}

// MigratedNamespaces finds all of the default namespace in a store, and nothing of the other.
func MigratedNamespaces(t *testing.T, store Store) {
	t.Helper()
	name := newFunction("f", "").Name
	wantVersions(t, store, name, 2)
	f, err := store.FindFunction(t.Context(), faas.Ref{Name: name})
	wantCode(t, "find", err, "")
	equal(t, "the current version", []any{f.Script.Source, f.Timeout, f.Tags[0]}, []any{"return 'ours, anew'", time.Second, "tag"})
	f, err = store.FindFunction(t.Context(), faas.Ref{Name: name, Alias: "prod"})
	wantCode(t, "find by alias", err, "")
	equal(t, "the alias", []any{f.Script.Source, f.AliasEnvironment["A"].Text}, []any{"return 'ours'", "x"})
	for n, want := range map[faas.Namespace]int{"": 1, team: 0} {
		_, total, err := store.ListKeys(t.Context(), faas.KeyQuery{Namespace: n, Page: 1, PerPage: 10})
		wantCode(t, "list keys", err, "")
		equal(t, "keys of "+n.String(), total, want)
		_, total, err = store.ListFunctions(t.Context(), faas.FunctionQuery{Namespace: n, Page: 1, PerPage: 10})
		wantCode(t, "list functions", err, "")
		equal(t, "functions of "+n.String(), total, 2*want)
		secrets, err := store.ListSecrets(t.Context(), faas.OwnerOf(n, "ann"))
		wantCode(t, "list secrets", err, "")
		equal(t, "secrets of "+n.String(), len(secrets), want)
	}
}

// testAuditOfNamespaces: each namespace has rows of its own, and a row says from which one it was
// changed. A user of another namespace is another user, whatever its id.
func testAuditOfNamespaces(t *testing.T, open Open) {
	const team = faas.Namespace("team-a")
	store := fresh(t, open)
	by := faas.Actor{Namespace: team, UserID: "ann"}
	f := newFunction("f", "return 1")
	f.Name.Namespace = team
	_, err := store.CreateFunction(t.Context(), by, f)
	wantCode(t, "create", err, "")
	k := newKey("ann")
	k.Namespace = team
	wantCode(t, "create a key", store.CreateKey(t.Context(), faas.Actor{UserID: "root"}, k), "")
	wantCode(t, "put a secret", store.PutSecret(t.Context(), by, faas.Secret{Owner: faas.OwnerOf(team, "ann"), Name: "S", Key: "k", Sealed: []byte("x")}), "")
	session, script := newSession("s", "return 1")
	session.UserID, session.Name.Namespace = "ann", team
	mustCreate(t, store, session, script)
	wantCode(t, "delete a session", store.DeleteSession(t.Context(), faas.Actor{UserID: "ann"}, session.ID), "")

	equal(t, "of the default one", len(mustListAudit(t, store, faas.AuditQuery{})), 0)
	var told []string
	for _, e := range mustListAudit(t, store, faas.AuditQuery{Namespace: team}) {
		equal(t, "namespace", e.Namespace, team)
		told = append(told, string(e.Action)+" "+e.Actor.Namespace.String()+" "+e.Actor.UserID+" "+string(e.Details))
	}
	digest := string(f.Script.Digest)
	equal(t, "rows", told, []string{
		`session.delete default ann {"user_id":"ann"}`,
		`secret.put team-a ann {"owner":"ann"}`,
		`key.create default root {"name":"a key","scopes":["execute:all"],"user_id":"ann"}`,
		`function.register team-a ann {"digest":"` + digest + `","version":1}`,
	})
}
