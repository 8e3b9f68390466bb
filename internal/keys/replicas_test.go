package keys_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"envoke/internal/faas"
	"envoke/internal/keys"
	"envoke/internal/postgres"
	"envoke/internal/testrig"
)

// replica is Keys of one control on a PostgreSQL that hears what others change.
func replica(t *testing.T, address string) *keys.Keys {
	t.Helper()
	store, err := postgres.Open(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	k := keys.New(keys.Options{Store: store, Registerer: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler)})
	began := make(chan struct{})
	hear := func(c faas.Change) {
		if k.Heard(c); c.Began {
			close(began)
		}
	}
	testrig.Serve(t, func(ctx context.Context) error { return store.FollowChanges(ctx, hear, func(error) {}) })
	testrig.Serve(t, k.Serve)
	<-began
	return k
}

// TestRevokedElsewhere: what one control revokes, another soon refuses, although it remembers
// the key and believes it for longer.
func TestRevokedElsewhere(t *testing.T) {
	address := testrig.Postgres(t)
	here, there := replica(t, address), replica(t, address)
	key, secret, err := here.Create(t.Context(), faas.Actor{}, faas.APIKey{UserID: "ada", Scopes: faas.Scopes{faas.Admin}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := there.Verify(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	revoked := time.Now()
	if err := here.Revoke(t.Context(), faas.Actor{}, "", key.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := here.Verify(t.Context(), secret); !errors.Is(err, faas.ErrKeyRevoked) {
		t.Errorf("here: %v", err)
	}
	testrig.Eventually(t, "it is refused there", func() bool {
		_, err := there.Verify(t.Context(), secret)
		return errors.Is(err, faas.ErrKeyRevoked)
	})
	if took := time.Since(revoked); took > 5*time.Second {
		t.Errorf("that took %v: nobody has told it", took)
	}
}

// TestRevokeWhileVerified: once a key is revoked, no call that begins later is let through,
// however many are under way.
func TestRevokeWhileVerified(t *testing.T) {
	r := newRig(t, keys.Options{})
	for range 20 {
		id, secret := r.create(faas.APIKey{})
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for {
					if _, err := r.Verify(t.Context(), secret); err != nil {
						return
					}
				}
			})
		}
		if err := r.Revoke(t.Context(), faas.Actor{}, "", id); err != nil {
			t.Error(err)
		}
		r.wantError("after", secret, faas.ErrKeyRevoked)
		all.Wait()
	}
}
