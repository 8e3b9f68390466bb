// Package keys says whose an API key is. It remembers what the store said of keys that are
// used, so that a call costs microseconds, and forgets it when a key is revoked, here or by
// another control.
package keys

import (
	"context"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"envoke/internal/faas"
	"envoke/internal/lookup"
)

// Store keeps API keys. Its errors are *faas.Error of NOT_FOUND, CONFLICT and UNAVAILABLE
// where these apply.
type Store interface {
	CreateKey(context.Context, faas.Actor, faas.APIKey) error
	FindKey(context.Context, faas.KeyHash) (faas.APIKey, error)
	ListKeys(context.Context, faas.KeyQuery) (keys []faas.APIKey, total int, err error)
	RevokeKey(ctx context.Context, by faas.Actor, namespace faas.Namespace, id string) error
	NoteKeyUses(ctx context.Context, used map[string]time.Time) error
}

// Options make Keys. Store, Logger and Registerer are required; zero durations and bounds
// mean the defaults.
type Options struct {
	Store Store
	// AdminKey is a secret that the operator has chosen: a key of all rights that needs no
	// store. Empty: there is none.
	AdminKey   string
	Throttle   ThrottleOptions
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	Now        func() time.Time // nil: time.Now

	MaxKeys int // remembered; 10,000
}

const (
	// AdminUser is who calls by the operator's own key.
	AdminUser = "admin"
	// maxSecret bounds what is hashed, in bytes: what AdminKey may have at most.
	maxSecret = 512
	// storeTimeout bounds one question to the store. It stays below the deadline of ext_proc,
	// so that who waits is told UNAVAILABLE instead of nothing.
	storeTimeout = 700 * time.Millisecond
	// maxAsking bounds the questions to the store that are under way: those who guess, each
	// with another secret, must not take all its connections.
	maxAsking = 8

	// Changes are told, so that this is for those that nobody tells: how long a key is
	// believed, and that there is none, before the store is asked again.
	believed = 10 * time.Second
	// briefly is how long a known key goes on before a store that is away is asked again.
	briefly = time.Second
	// goesOn is how long a known key goes on with the store away.
	goesOn = time.Hour

	maxKeys    = 10_000
	maxUnknown = 10_000
)

// Keys verifies API keys and makes new ones. It is safe for concurrent use.
type Keys struct {
	store    Store
	admin    *faas.APIKey // nil: none
	throttle *Throttle
	now      func() time.Time
	known    *lookup.Memory[place, known]
	unknown  *lookup.Memory[faas.KeyHash, time.Time] // secrets of no key, until when that is believed
	asking   chan struct{}
	uses     *uses
	metrics  *metrics
}

// A place is where a key is remembered: by its whole secret, and so that its id finds it.
type place struct {
	id   [faas.KeyIDLen]byte
	hash faas.KeyHash
}

// known is what the store said of a key, when it did, and until when it is not asked again.
type known struct {
	key          faas.APIKey
	source       prometheus.Counter // of keys that are accepted as this one was
	asked, until time.Time
}

// New makes Keys. It does no I/O.
func New(o Options) *Keys {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.MaxKeys == 0 {
		o.MaxKeys = maxKeys
	}
	k := &Keys{
		store: o.Store, now: o.Now, asking: make(chan struct{}, maxAsking),
		known:   lookup.New[place, known](o.MaxKeys, 0, nil),
		unknown: lookup.New[faas.KeyHash, time.Time](maxUnknown, 0, nil),
	}
	if o.AdminKey != "" {
		k.admin = &faas.APIKey{
			ID: AdminUser, Name: "ADMIN_KEY", UserID: AdminUser,
			Scopes: faas.Scopes{faas.Admin}, Hash: faas.HashKeySecret(o.AdminKey),
		}
	}
	k.metrics = newMetrics(o.Registerer, k)
	k.uses = &uses{store: o.Store, logger: o.Logger, metrics: k.metrics, latest: map[string]time.Time{}}
	if o.Throttle.Now == nil {
		o.Throttle.Now = o.Now
	}
	o.Throttle.Registerer = o.Registerer
	k.throttle = NewThrottle(o.Throttle)
	return k
}

// Create makes a key of what is given and returns it with its secret, which nobody can have
// again. Id, hash and time are made here.
func (k *Keys) Create(ctx context.Context, by faas.Actor, key faas.APIKey) (created faas.APIKey, secret string, err error) {
	key.ID, secret = faas.NewKeySecret()
	key.Hash = faas.HashKeySecret(secret)
	key.CreatedAt = k.now().UTC().Truncate(time.Microsecond)
	key.ExpiresAt = key.ExpiresAt.UTC().Truncate(time.Microsecond)
	if err := k.store.CreateKey(ctx, by, key); err != nil {
		return faas.APIKey{}, "", fmt.Errorf("create API key: %w", err)
	}
	return key, secret, nil
}

// List is one page of the keys of a namespace, newest first, and how many there are on all pages.
func (k *Keys) List(ctx context.Context, q faas.KeyQuery) (keys []faas.APIKey, total int, err error) {
	return k.store.ListKeys(ctx, q)
}

// Revoke has a key accepted no more: here when it returns, by other controls as soon as they
// hear of it. NOT_FOUND: the namespace has none of that id.
func (k *Keys) Revoke(ctx context.Context, by faas.Actor, namespace faas.Namespace, id string) error {
	if !faas.IsKeyID(id) {
		return &faas.Error{Code: faas.NotFound, Message: "no such API key"}
	}
	err := k.store.RevokeKey(ctx, by, namespace, id)
	// Whatever the store said: it may have revoked without being able to say so.
	k.forget(id)
	if err != nil {
		return fmt.Errorf("revoke API key: %w", err)
	}
	return nil
}

// Heard takes what some control on the same store has changed, this one too. It waits for
// nobody.
func (k *Keys) Heard(c faas.Change) {
	switch {
	case c.All:
		k.known.DropAll(func(place) bool { return true })
		k.unknown.DropAll(func(faas.KeyHash) bool { return true })
	case c.Key != "":
		k.metrics.heard.Inc()
		k.forget(c.Key)
	}
}

func (k *Keys) forget(id string) {
	k.known.DropAll(func(p place) bool { return string(p.id[:]) == id })
}

// Serve stores when keys were last used, every few seconds and once more when ctx ends.
func (k *Keys) Serve(ctx context.Context) error { return k.uses.serve(ctx) }

// same compares hashes in a time that tells nothing of them.
func same(a, b faas.KeyHash) bool { return subtle.ConstantTimeCompare(a[:], b[:]) == 1 }
