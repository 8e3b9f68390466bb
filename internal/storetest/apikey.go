package storetest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"envoke/internal/faas"
)

// newKey makes a key of a user, which a store has as it is.
func newKey(user string) faas.APIKey {
	id, secret := faas.NewKeySecret()
	return faas.APIKey{
		ID: id, Name: "a key", UserID: user, Scopes: faas.Scopes{faas.ExecuteAll},
		CreatedAt: time.Now().UTC().Truncate(time.Microsecond), Hash: faas.HashKeySecret(secret),
	}
}

func mustCreateKey(t *testing.T, store Store, user string) faas.APIKey {
	t.Helper()
	k := newKey(user)
	wantCode(t, "create key", store.CreateKey(t.Context(), faas.Actor{}, k), "")
	return k
}

func mustFindKey(t *testing.T, store Store, hash faas.KeyHash) faas.APIKey {
	t.Helper()
	k, err := store.FindKey(t.Context(), hash)
	wantCode(t, "find key", err, "")
	return k
}

func testAPIKeys(t *testing.T, open Open) {
	place := t.TempDir()
	store := open(t, place)
	full, bare, later := newKey("ada 'ü' 日本"), newKey("ada 'ü' 日本"), newKey("bob")
	full.Name, full.CreatedBy = "häß 日本語 'quoted'", "bob"
	full.Scopes, full.Languages = faas.Scopes{faas.ReadFunctions, faas.ExecuteAll}, []faas.Language{faas.Python, faas.Rust}
	full.CreatedAt, full.ExpiresAt = epoch, epoch.Add(time.Hour) // it has expired, and is found
	for _, k := range []faas.APIKey{full, bare, later} {
		wantCode(t, "create key", store.CreateKey(t.Context(), faas.Actor{}, k), "")
	}
	sameHash, sameID := newKey("ada"), newKey("ada")
	sameHash.Hash, sameID.ID = bare.Hash, bare.ID
	wantCode(t, "a hash that is there", store.CreateKey(t.Context(), faas.Actor{}, sameHash), faas.Conflict)
	wantCode(t, "an id that is there", store.CreateKey(t.Context(), faas.Actor{}, sameID), faas.Conflict)
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	store = open(t, place)
	defer store.Close()
	for _, want := range []faas.APIKey{full, bare, later} {
		equal(t, "key", mustFindKey(t, store, want.Hash), want)
	}
	_, err := store.FindKey(t.Context(), newKey("x").Hash)
	wantCode(t, "find no key", err, faas.NotFound)
}

func testRevokedKeys(t *testing.T, open Open) {
	store := fresh(t, open)
	k, other := mustCreateKey(t, store, "ada"), mustCreateKey(t, store, "ada")
	before := time.Now().Add(-time.Second)
	wantCode(t, "revoke", store.RevokeKey(t.Context(), faas.Actor{}, "", k.ID), "")
	revoked := mustFindKey(t, store, k.Hash).RevokedAt
	if revoked.Before(before) || revoked.After(time.Now().Add(time.Second)) {
		t.Errorf("it was revoked at %v", revoked)
	}
	wantCode(t, "revoke again", store.RevokeKey(t.Context(), faas.Actor{}, "", k.ID), "")
	if again := mustFindKey(t, store, k.Hash).RevokedAt; !again.Equal(revoked) {
		t.Errorf("revoked at %v, and then at %v", revoked, again)
	}
	if at := mustFindKey(t, store, other.Hash).RevokedAt; !at.IsZero() {
		t.Errorf("the other one was revoked at %v", at)
	}
	wantCode(t, "revoke none", store.RevokeKey(t.Context(), faas.Actor{}, "", "none"), faas.NotFound)
}

func testUsedKeys(t *testing.T, open Open) {
	store := fresh(t, open)
	a, b := mustCreateKey(t, store, "ada"), mustCreateKey(t, store, "ada")
	for _, step := range []struct {
		used map[string]time.Time
		a, b time.Time
	}{
		{nil, time.Time{}, time.Time{}},
		{map[string]time.Time{a.ID: epoch, "none": epoch}, epoch, time.Time{}},
		{map[string]time.Time{a.ID: epoch.Add(-time.Hour), b.ID: epoch}, epoch, epoch}, // earlier: told late
		{map[string]time.Time{a.ID: epoch.Add(time.Hour)}, epoch.Add(time.Hour), epoch},
	} {
		wantCode(t, "note uses", store.NoteKeyUses(t.Context(), step.used), "")
		equal(t, "a's last use", mustFindKey(t, store, a.Hash).LastUsedAt, step.a)
		equal(t, "b's last use", mustFindKey(t, store, b.Hash).LastUsedAt, step.b)
	}
}

func testListKeys(t *testing.T, open Open) {
	store := fresh(t, open)
	var all, adas []string // newest first
	for i := range 7 {
		user := "bob"
		if i%2 == 0 {
			user = "ada"
		}
		k := mustCreateKey(t, store, user)
		all = append(all, k.ID)
		if user == "ada" {
			adas = append(adas, k.ID)
		}
	}
	slices.Reverse(all)
	slices.Reverse(adas)
	for user, want := range map[string][]string{"": all, "ada": adas, "nobody": nil} {
		var got []string
		for page := 1; page <= 4; page++ {
			keys, total, err := store.ListKeys(t.Context(), faas.KeyQuery{UserID: user, Page: page, PerPage: 3})
			wantCode(t, "list", err, "")
			equal(t, fmt.Sprintf("total of %q", user), total, len(want))
			for _, k := range keys {
				got = append(got, k.ID)
			}
		}
		equal(t, fmt.Sprintf("keys of %q", user), got, want)
	}
	keys, _, err := store.ListKeys(t.Context(), faas.KeyQuery{Page: 1, PerPage: 1})
	wantCode(t, "list", err, "")
	equal(t, "the newest", keys, []faas.APIKey{mustFindKey(t, store, keys[0].Hash)})
}
