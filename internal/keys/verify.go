package keys

import (
	"context"
	"errors"
	"fmt"

	"envoke/internal/faas"
)

// VerifyFrom is Verify for a client at an address: one that has failed too often is refused
// for a while, but with a key that was accepted before: who guesses shares the address with
// others, behind a router or a proxy.
func (k *Keys) VerifyFrom(ctx context.Context, address, secret string) (faas.APIKey, error) {
	if err := k.throttle.Blocked(address); err != nil && !k.remembers(secret) {
		k.metrics.throttled.Inc()
		return faas.APIKey{}, err
	}
	key, err := k.Verify(ctx, secret)
	if err != nil && faas.AsError(err).Code == faas.Unauthorized {
		k.throttle.Failed(address)
	}
	return key, err
}

// remembers tells whether the secret was accepted before, without asking anybody.
func (k *Keys) remembers(secret string) bool {
	if len(secret) > maxSecret {
		return false
	}
	hash := faas.HashKeySecret(secret)
	if k.admin != nil && same(hash, k.admin.Hash) {
		return true
	}
	id, ok := faas.ParseKeySecret(secret)
	if !ok {
		return false
	}
	at := place{hash: hash}
	copy(at.id[:], id)
	_, held := k.known.Held(at)
	return held
}

// Verify returns the key of a secret. Its error is a *faas.Error: UNAUTHORIZED, which says
// why a key is not accepted, but to who has not its whole secret; or UNAVAILABLE where the
// store does not answer and the key is not remembered.
func (k *Keys) Verify(ctx context.Context, secret string) (faas.APIKey, error) {
	if len(secret) > maxSecret {
		k.metrics.malformed.Inc()
		return faas.APIKey{}, faas.ErrKeyForm
	}
	hash := faas.HashKeySecret(secret)
	if k.admin != nil && same(hash, k.admin.Hash) {
		k.metrics.admin.Inc()
		return *k.admin, nil
	}
	id, ok := faas.ParseKeySecret(secret)
	if !ok {
		k.metrics.malformed.Inc()
		return faas.APIKey{}, faas.ErrKeyForm
	}
	found, err := k.find(ctx, id, hash)
	key := found.key
	if err == nil {
		err = k.check(&key, hash)
	}
	if err != nil {
		return faas.APIKey{}, k.refused(err)
	}
	found.source.Inc()
	k.uses.note(key.ID, k.now()) // not id, which would hold the secret that it is part of
	return key, nil
}

// check tells whether a key that was found is that of the secret, and accepted now.
func (k *Keys) check(key *faas.APIKey, hash faas.KeyHash) error {
	if !same(key.Hash, hash) {
		return faas.ErrNoKey
	}
	return key.Check(k.now())
}

// refused counts why a key is not accepted, and makes an error for callers of it.
func (k *Keys) refused(err error) error {
	switch {
	case errors.Is(err, faas.ErrNoKey):
		k.metrics.unknown.Inc()
	case errors.Is(err, faas.ErrKeyExpired):
		k.metrics.expired.Inc()
	case errors.Is(err, faas.ErrKeyRevoked):
		k.metrics.revoked.Inc()
	default:
		k.metrics.unavailable.Inc()
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return &faas.Error{Code: faas.Unavailable, Message: "the store does not answer; try again", Err: err}
	}
	return faas.AsError(err)
}

// find is what is remembered of a secret, else what the store says.
func (k *Keys) find(ctx context.Context, id string, hash faas.KeyHash) (known, error) {
	at := place{hash: hash}
	copy(at.id[:], id)
	now := k.now()
	old, held := k.known.Held(at)
	if held && now.Before(old.until) {
		old.source = k.metrics.memory
		return old, nil
	}
	if until, ok := k.unknown.Held(hash); ok && now.Before(until) && !held {
		return known{}, faas.ErrNoKey
	}
	found, err := k.known.Find(ctx, at, storeTimeout, func(ctx context.Context) (known, error) { return k.ask(ctx, at, old) })
	if errors.Is(err, faas.ErrNoKey) {
		k.known.Drop(at)
		k.unknown.Hold(hash, now.Add(believed))
	}
	return found, err
}

// ask asks the store. A key that it knew before, and of which it does not answer now, goes on.
func (k *Keys) ask(ctx context.Context, at place, old known) (known, error) {
	key, err := k.askStore(ctx, at.hash)
	now := k.now()
	switch {
	case err == nil:
		return known{key: key, source: k.metrics.store, asked: now, until: now.Add(believed)}, nil
	case faas.IsNotFound(err):
		return known{}, faas.ErrNoKey
	case now.Sub(old.asked) < goesOn: // of the zero time it is not
		return known{key: old.key, source: k.metrics.stale, asked: old.asked, until: now.Add(briefly)}, nil
	}
	return known{}, err
}

func (k *Keys) askStore(ctx context.Context, hash faas.KeyHash) (faas.APIKey, error) {
	select {
	case k.asking <- struct{}{}:
		defer func() { <-k.asking }()
		return k.store.FindKey(ctx, hash)
	case <-ctx.Done():
		return faas.APIKey{}, fmt.Errorf("wait to ask for an API key: %w", ctx.Err())
	}
}
