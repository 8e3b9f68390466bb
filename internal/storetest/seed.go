package storetest

import (
	"testing"

	"envoke/internal/faas"
	"envoke/migrations"
)

// testSeeds: seeds are registered once, however often a control starts.
func testSeeds(t *testing.T, open Open) {
	store := fresh(t, open)
	for range 2 {
		wantCode(t, "seed", migrations.Seed(t.Context(), store), "")
	}
	for _, seed := range migrations.Seeds() {
		got, err := store.FindFunction(t.Context(), faas.Ref{Name: seed.Name})
		wantCode(t, "find "+seed.Name.String(), err, "")
		if got.Version != 1 || got.Script.Digest != seed.Script.Digest {
			t.Errorf("%s has version %d and digest %s", seed.Name, got.Version, got.Script.Digest)
		}
	}
}

// testDeletedSeed: a seed that was deleted stays away.
func testDeletedSeed(t *testing.T, open Open) {
	store := fresh(t, open)
	seed := migrations.Seeds()[0].Name
	wantCode(t, "seed", migrations.Seed(t.Context(), store), "")
	wantCode(t, "delete", store.DeleteFunction(t.Context(), faas.Actor{}, seed), "")
	wantCode(t, "seed again", migrations.Seed(t.Context(), store), "")
	_, err := store.FindFunction(t.Context(), faas.Ref{Name: seed})
	wantCode(t, "find the seed that was deleted", err, faas.NotFound)
}
