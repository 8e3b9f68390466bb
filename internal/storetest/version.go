package storetest

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"envoke/internal/faas"
)

func mustFindFunction(t *testing.T, store Store, ref string) faas.Function {
	t.Helper()
	parsed, err := faas.ParseRef(ref)
	if err != nil {
		t.Fatal(err)
	}
	f, err := store.FindFunction(t.Context(), parsed)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// wantNoFunction checks that nothing is found under the references.
func wantNoFunction(t *testing.T, store Store, refs ...string) {
	t.Helper()
	for _, ref := range refs {
		parsed, err := faas.ParseRef(ref)
		if err != nil {
			t.Fatal(err)
		}
		_, err = store.FindFunction(t.Context(), parsed)
		wantCode(t, "find "+ref, err, faas.NotFound)
	}
}

func testFunctionVersions(t *testing.T, open Open) {
	store := fresh(t, open)
	first := newFunction("f", "return 1")
	first.Description, first.Tags, first.UserID = "the first", []string{"old"}, "ada"
	one := mustPut(t, store, first)

	next := newFunction("f", "return 2")
	next.Description, next.Tags, next.Timeout, next.UserID = "the second", []string{"new"}, time.Second, "bob"
	mustPut(t, store, next)
	mustPut(t, store, next)
	for ref, want := range map[string]struct {
		version int
		faas.Function
	}{"nodejs-f": {3, next}, "nodejs-f@3": {3, next}, "nodejs-f@2": {2, next}, "nodejs-f@1": {1, first}} {
		got := mustFindFunction(t, store, ref)
		want.Version, want.UserID = want.version, "ada" // who registered it, not who added the version
		if diff := cmp.Diff(want.Function, got, cmpopts.EquateEmpty(), ignoreTimes); diff != "" {
			t.Errorf("%s (-want +got):\n%s", ref, diff)
		}
		if !got.CreatedAt.Equal(one.CreatedAt) || !got.UpdatedAt.After(one.UpdatedAt) {
			t.Errorf("%s: created %v, updated %v; version 1 was at %v", ref, got.CreatedAt, got.UpdatedAt, one.CreatedAt)
		}
	}
	wantNoFunction(t, store, "nodejs-f@4", "nodejs-f:old", "nodejs-g@1")
	_, err := store.FindScript(t.Context(), first.Script.Digest)
	wantCode(t, "the script of version 1", err, "")

	versions, err := store.ListVersions(t.Context(), first.Name)
	wantCode(t, "list versions", err, "")
	want := []faas.Version{
		{Number: 3, Digest: next.Script.Digest, UserID: "bob", Current: true},
		{Number: 2, Digest: next.Script.Digest, UserID: "bob"},
		{Number: 1, Digest: first.Script.Digest, UserID: "ada", CreatedAt: one.CreatedAt},
	}
	for i := range versions[:2] {
		want[i].CreatedAt = versions[i].CreatedAt
	}
	equal(t, "versions", versions, want)
}

// testFunctionConflicts: one of many who want a name gets it, and of many who add a
// version each adds one.
func testFunctionConflicts(t *testing.T, open Open) {
	store := fresh(t, open)
	f := newFunction("f", "return 1")
	_, err := store.AddVersion(t.Context(), faas.Actor{}, f)
	wantCode(t, "a version of nothing", err, faas.NotFound)
	const many = 8
	var (
		all      sync.WaitGroup
		created  = make([]error, many)
		versions = make([]int, many)
	)
	for i := range many {
		all.Go(func() { _, created[i] = store.CreateFunction(t.Context(), faas.Actor{}, f) })
	}
	all.Wait()
	for i := range many {
		all.Go(func() {
			stored, err := store.AddVersion(t.Context(), faas.Actor{}, newFunction("f", fmt.Sprint(i)))
			wantCode(t, "add a version", err, "")
			versions[i] = stored.Version
		})
	}
	all.Wait()
	won := 0
	for _, err := range created {
		if err == nil {
			won++
			continue
		}
		wantCode(t, "create", err, faas.Conflict)
	}
	slices.Sort(versions)
	equal(t, "who created", won, 1)
	equal(t, "versions", versions, []int{2, 3, 4, 5, 6, 7, 8, 9})
}

func testDeleteFunction(t *testing.T, open Open) {
	store := fresh(t, open)
	known := func(name faas.Name) bool {
		t.Helper()
		known, err := store.EverRegistered(t.Context(), name)
		wantCode(t, "ever registered", err, "")
		return known
	}
	f, other := newFunction("f", "return 1"), newFunction("other", "return 'other'")
	equal(t, "registered before it was", known(f.Name), false)
	used, unused := mustPut(t, store, f), mustPut(t, store, newFunction("f", "return 2"))
	mustPut(t, store, other)
	mustPutAlias(t, store, f.Name, faas.Alias{Name: "prod", Version: 1})
	session, _ := newSession("f", "return 1")
	session.Version = 1
	mustCreate(t, store, session, nil)

	wantCode(t, "delete", store.DeleteFunction(t.Context(), faas.Actor{}, f.Name), "")
	wantCode(t, "delete again", store.DeleteFunction(t.Context(), faas.Actor{}, f.Name), faas.NotFound)
	wantNoFunction(t, store, "nodejs-f", "nodejs-f@1", "nodejs-f:prod")
	functions, total, err := store.ListFunctions(t.Context(), faas.FunctionQuery{Page: 1, PerPage: 10})
	wantCode(t, "list", err, "")
	equal(t, "what is left", names(functions), []string{"nodejs-other"})
	equal(t, "total", total, 1)
	equal(t, "registered after it was", known(f.Name), true)

	// Sessions go on with their code; what nobody runs is gone.
	_, err = store.FindScript(t.Context(), used.Script.Digest)
	wantCode(t, "the session's script", err, "")
	_, err = store.FindScript(t.Context(), unused.Script.Digest)
	wantCode(t, "a script that nobody runs", err, faas.NotFound)
	wantCode(t, "delete the session", store.DeleteSession(t.Context(), faas.Actor{}, session.ID), "")
	_, err = store.FindScript(t.Context(), used.Script.Digest)
	wantCode(t, "the script after its session", err, faas.NotFound)

	// The name is free again, its numbers are not.
	again := newFunction("f", "return 'again'")
	again.UserID = "bob"
	stored := mustPut(t, store, again)
	equal(t, "version", stored.Version, 3)
	equal(t, "who registered it", stored.UserID, "bob")
	if !stored.CreatedAt.After(used.CreatedAt) {
		t.Errorf("created at %v, as before", stored.CreatedAt)
	}
	wantNoFunction(t, store, "nodejs-f@1", "nodejs-f:prod")
	versions, err := store.ListVersions(t.Context(), f.Name)
	wantCode(t, "list versions", err, "")
	equal(t, "how many versions", len(versions), 1)
}

func testSetCurrentVersion(t *testing.T, open Open) {
	store := fresh(t, open)
	for i := 1; i <= 3; i++ {
		f := newFunction("f", fmt.Sprint("return ", i))
		f.Description, f.Tags = fmt.Sprint("number ", i), []string{fmt.Sprint("tag", i)}
		mustPut(t, store, f)
	}
	name := faas.Name{Language: faas.NodeJS, Title: "f"}
	before := mustFindFunction(t, store, "nodejs-f")
	wantCode(t, "back to 1", store.SetCurrentVersion(t.Context(), faas.Actor{}, name, 1), "")
	got := mustFindFunction(t, store, "nodejs-f")
	equal(t, "current", []any{got.Version, got.Script.Source, got.Description}, []any{1, "return 1", "number 1"})
	if !got.UpdatedAt.After(before.UpdatedAt) || !got.CreatedAt.Equal(before.CreatedAt) {
		t.Errorf("created %v, updated %v; before %v, %v", got.CreatedAt, got.UpdatedAt, before.CreatedAt, before.UpdatedAt)
	}
	for tag, want := range map[string][]string{"tag1": {"nodejs-f"}, "tag3": nil} {
		functions, _, err := store.ListFunctions(t.Context(), faas.FunctionQuery{Tag: tag, Page: 1, PerPage: 10})
		wantCode(t, "list", err, "")
		equal(t, "functions of "+tag, names(functions), want)
	}
	for _, version := range []int{0, 4} {
		wantCode(t, "a version that is not there", store.SetCurrentVersion(t.Context(), faas.Actor{}, name, version), faas.NotFound)
	}
	// The next version is a new number, not the one after the current.
	equal(t, "next version", mustPut(t, store, newFunction("f", "return 4")).Version, 4)
	equal(t, "version 2 is", mustFindFunction(t, store, "nodejs-f@2").Script.Source, "return 2")
}

func mustPutAlias(t *testing.T, store Store, name faas.Name, alias faas.Alias) faas.Alias {
	t.Helper()
	stored, err := store.PutAlias(t.Context(), faas.Actor{}, name, alias)
	if err != nil {
		t.Fatal(err)
	}
	return stored
}

func testAliases(t *testing.T, open Open) {
	store := fresh(t, open)
	for i := 1; i <= 3; i++ {
		mustPut(t, store, newFunction("f", fmt.Sprint("return ", i)))
	}
	mustPut(t, store, newFunction("g", "return 'g'"))
	name, other := faas.Name{Language: faas.NodeJS, Title: "f"}, faas.Name{Language: faas.NodeJS, Title: "g"}
	prod := mustPutAlias(t, store, name, faas.Alias{Name: "prod", Version: 2, Weights: map[int]int{3: 10, 1: 5}, Environment: faas.Environment{"A": {Text: "x"}, "B": {Secret: "S"}}, UserID: "ada"})
	mustPutAlias(t, store, name, faas.Alias{Name: "old", Version: 2})
	mustPutAlias(t, store, other, faas.Alias{Name: "prod", Version: 1})

	got := mustFindFunction(t, store, "nodejs-f:prod")
	equal(t, "by alias", []any{got.Version, got.Script.Source, got.Weights}, []any{2, "return 2", map[int]int{3: 10, 1: 5}})
	equal(t, "its environment", got.AliasEnvironment, faas.Environment{"A": {Text: "x"}, "B": {Secret: "S"}})
	equal(t, "that of another", mustFindFunction(t, store, "nodejs-f:old").AliasEnvironment, faas.Environment(nil))
	equal(t, "weights by number", mustFindFunction(t, store, "nodejs-f@2").Weights, map[int]int(nil))
	wantNoFunction(t, store, "nodejs-f:none", "nodejs-g:old")

	moved := mustPutAlias(t, store, name, faas.Alias{Name: "prod", Version: 3, UserID: "bob"})
	if !moved.CreatedAt.Equal(prod.CreatedAt) || !moved.UpdatedAt.After(prod.UpdatedAt) {
		t.Errorf("put at %v, %v and then at %v, %v", prod.CreatedAt, prod.UpdatedAt, moved.CreatedAt, moved.UpdatedAt)
	}
	equal(t, "the environment, of which nothing was said", moved.Environment, prod.Environment)
	aliases, err := store.ListAliases(t.Context(), name)
	wantCode(t, "list aliases", err, "")
	equal(t, "the alias that was moved", aliases[1], moved)
	equal(t, "how many", len(aliases), 2)
	bare := mustPutAlias(t, store, name, faas.Alias{Name: "prod", Version: 3, Environment: faas.Environment{}})
	equal(t, "an environment that was emptied", bare.Environment, faas.Environment(nil))
	mustPutAlias(t, store, name, faas.Alias{Name: "also", Version: 2})
	versions, err := store.ListVersions(t.Context(), name)
	wantCode(t, "list versions", err, "")
	equal(t, "aliases of versions", [][]string{versions[0].Aliases, versions[1].Aliases, versions[2].Aliases}, [][]string{{"prod"}, {"also", "old"}, {}})

	for what, alias := range map[string]faas.Alias{
		"a version that is not there":   {Name: "x", Version: 4},
		"a weight of what is not there": {Name: "x", Version: 1, Weights: map[int]int{2: 1, 9: 1}},
	} {
		_, err := store.PutAlias(t.Context(), faas.Actor{}, name, alias)
		wantCode(t, what, err, faas.NotFound)
	}
	wantCode(t, "delete", store.DeleteAlias(t.Context(), faas.Actor{}, name, "prod"), "")
	wantCode(t, "delete again", store.DeleteAlias(t.Context(), faas.Actor{}, name, "prod"), faas.NotFound)
	wantNoFunction(t, store, "nodejs-f:prod", "nodejs-f:x")
	equal(t, "the other function's", mustFindFunction(t, store, "nodejs-g:prod").Version, 1)
}

func testNoSuchFunction(t *testing.T, open Open) {
	store := fresh(t, open)
	name := faas.Name{Language: faas.NodeJS, Title: "none"}
	_, err := store.ListVersions(t.Context(), name)
	wantCode(t, "list versions", err, faas.NotFound)
	_, err = store.ListAliases(t.Context(), name)
	wantCode(t, "list aliases", err, faas.NotFound)
	_, err = store.PutAlias(t.Context(), faas.Actor{}, name, faas.Alias{Name: "prod", Version: 1})
	wantCode(t, "put alias", err, faas.NotFound)
	wantCode(t, "delete alias", store.DeleteAlias(t.Context(), faas.Actor{}, name, "prod"), faas.NotFound)
	wantCode(t, "set the current version", store.SetCurrentVersion(t.Context(), faas.Actor{}, name, 1), faas.NotFound)
	wantCode(t, "delete", store.DeleteFunction(t.Context(), faas.Actor{}, name), faas.NotFound)
}
