package storetest

import (
	"fmt"
	"testing"
	"time"

	"envoke/internal/faas"
)

func testSecrets(t *testing.T, open Open) {
	place := t.TempDir()
	store := open(t, place)
	put := func(owner, name, sealed string) {
		t.Helper()
		wantCode(t, "put", store.PutSecret(t.Context(), faas.Actor{}, faas.Secret{Owner: owner, Name: name, Key: "k1", Sealed: []byte(sealed)}), "")
	}
	before := time.Now().Truncate(time.Microsecond)
	put("ada", "B", "\x00\xff one")
	put("ada", "A", "two")
	put("", "B", "nobody's")
	first, err := store.FindSecret(t.Context(), "ada", "B")
	wantCode(t, "find", err, "")
	if first.CreatedAt.Before(before) || !first.UpdatedAt.Equal(first.CreatedAt) {
		t.Errorf("created %v, updated %v", first.CreatedAt, first.UpdatedAt)
	}
	put("ada", "B", "three")
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	store = open(t, place)
	defer store.Close()
	got, err := store.FindSecret(t.Context(), "ada", "B")
	wantCode(t, "find", err, "")
	equal(t, "secret", got, faas.Secret{
		Owner: "ada", Name: "B", Key: "k1", Sealed: []byte("three"), CreatedAt: first.CreatedAt, UpdatedAt: got.UpdatedAt,
	})
	if !got.UpdatedAt.After(first.UpdatedAt) {
		t.Errorf("updated %v, and before that %v", got.UpdatedAt, first.UpdatedAt)
	}
	list, err := store.ListSecrets(t.Context(), "ada")
	wantCode(t, "list", err, "")
	equal(t, "listed", []string{list[0].Name, list[1].Name}, []string{"A", "B"})
	equal(t, "listed in whole", list[1], faas.Secret{Owner: "ada", Name: "B", CreatedAt: got.CreatedAt, UpdatedAt: got.UpdatedAt})
	list, err = store.ListSecrets(t.Context(), "bob")
	wantCode(t, "list", err, "")
	equal(t, "of one who has none", len(list), 0)

	for _, of := range [][2]string{{"ada", "C"}, {"bob", "B"}, {"", "A"}, {"ada", "b"}} {
		_, err := store.FindSecret(t.Context(), of[0], of[1])
		wantCode(t, fmt.Sprint("find ", of), err, faas.NotFound)
		wantCode(t, fmt.Sprint("delete ", of), store.DeleteSecret(t.Context(), faas.Actor{}, of[0], of[1]), faas.NotFound)
	}
	wantCode(t, "delete", store.DeleteSecret(t.Context(), faas.Actor{}, "ada", "B"), "")
	_, err = store.FindSecret(t.Context(), "ada", "B")
	wantCode(t, "find what is deleted", err, faas.NotFound)
	_, err = store.FindSecret(t.Context(), "", "B")
	wantCode(t, "find nobody's", err, "")
}

// testManySecrets: an owner has so many, and changes them then as before.
func testManySecrets(t *testing.T, open Open) {
	store := fresh(t, open)
	put := func(owner string, n int) error {
		return store.PutSecret(t.Context(), faas.Actor{}, faas.Secret{Owner: owner, Name: fmt.Sprint("S", n), Key: "k", Sealed: []byte("x")})
	}
	for n := range faas.SecretsPerOwner {
		wantCode(t, "put", put("ada", n), "")
	}
	wantCode(t, "one more", put("ada", faas.SecretsPerOwner), faas.Conflict)
	wantCode(t, "one that is there", put("ada", 0), "")
	wantCode(t, "another's", put("bob", 0), "")
}

func testResealSecrets(t *testing.T, open Open) {
	store := fresh(t, open)
	for n := range 5 {
		secret := faas.Secret{Owner: fmt.Sprint("o", n), Name: "S", Key: fmt.Sprint("k", n%2), Sealed: []byte{byte(n)}}
		wantCode(t, "put", store.PutSecret(t.Context(), faas.Actor{}, secret), "")
	}
	stale, err := store.StaleSecrets(t.Context(), "k0", 10)
	wantCode(t, "stale", err, "")
	equal(t, "stale", stale, []faas.Secret{{Owner: "o1", Name: "S", Key: "k1", Sealed: []byte{1}}, {Owner: "o3", Name: "S", Key: "k1", Sealed: []byte{3}}})
	few, err := store.StaleSecrets(t.Context(), "k2", 3)
	wantCode(t, "stale", err, "")
	equal(t, "at most so many", len(few), 3)

	anew := faas.Secret{Owner: "o1", Name: "S", Key: "k0", Sealed: []byte("anew")}
	wantCode(t, "reseal what has changed", store.ResealSecret(t.Context(), faas.Actor{}, anew, []byte("other")), "")
	got, err := store.FindSecret(t.Context(), "o1", "S")
	wantCode(t, "find", err, "")
	equal(t, "key of what has changed", got.Key, "k1")
	wantCode(t, "reseal", store.ResealSecret(t.Context(), faas.Actor{}, anew, []byte{1}), "")
	after, err := store.FindSecret(t.Context(), "o1", "S")
	wantCode(t, "find", err, "")
	equal(t, "resealed", []any{after.Key, string(after.Sealed), after.UpdatedAt}, []any{"k0", "anew", got.UpdatedAt})
}
