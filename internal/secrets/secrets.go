// Package secrets keeps the values of secrets, sealed, in a store that cannot read them.
package secrets

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"

	"envoke/internal/faas"
)

// Store keeps what is sealed. Its errors are *faas.Error of NOT_FOUND, CONFLICT and UNAVAILABLE
// where these apply.
type Store interface {
	PutSecret(context.Context, faas.Actor, faas.Secret) error
	ListSecrets(ctx context.Context, owner string) ([]faas.Secret, error)
	FindSecret(ctx context.Context, owner, name string) (faas.Secret, error)
	DeleteSecret(ctx context.Context, by faas.Actor, owner, name string) error
}

// Stale is a Store that tells what is sealed with a key that is no longer the first.
type Stale interface {
	StaleSecrets(ctx context.Context, key string, most int) ([]faas.Secret, error)
	ResealSecret(ctx context.Context, by faas.Actor, secret faas.Secret, before []byte) error
}

// Sealer has the keys: those of a file here, or a key service's. What is sealed is bound to a
// text beside it, and opens with the same one only.
type Sealer interface {
	Seal(ctx context.Context, value, bound []byte) (key string, sealed []byte, err error)
	Open(ctx context.Context, key string, sealed, bound []byte) (value []byte, err error)
}

// ErrNoSealer is the answer where this installation has no key.
var ErrNoSealer = &faas.Error{Code: faas.Unavailable, Message: "this installation has no key to seal secrets with: its operator must set SECRETS_KEY_FILE"}

// Options are what Secrets need. All but Sealer are required.
type Options struct {
	Store   Store
	Sealer  Sealer                // nil: there is none, and secrets cannot be used
	Changed func(context.Context) // hears of each change, and returns when all hosts know
	Logger  *slog.Logger
}

// Secrets are those of all owners. They are safe for concurrent use.
type Secrets struct{ Options }

// New makes Secrets.
func New(o Options) *Secrets { return &Secrets{o} }

// Put sets the value of a secret, by its owner and name: of a new one or one that exists.
func (s *Secrets) Put(ctx context.Context, by faas.Actor, secret faas.Secret, value string) (err error) {
	if s.Sealer == nil {
		return ErrNoSealer
	}
	if secret.Key, secret.Sealed, err = s.Sealer.Seal(ctx, []byte(value), boundTo(secret.Owner, secret.Name)); err != nil {
		return fmt.Errorf("seal secret %q: %w", secret.Name, err)
	}
	err = s.Store.PutSecret(ctx, by, secret)
	s.changed(ctx, err)
	return err
}

// List is an owner's secrets by name, without their values.
func (s *Secrets) List(ctx context.Context, owner string) ([]faas.Secret, error) {
	return s.Store.ListSecrets(ctx, owner)
}

// Delete deletes a secret. NOT_FOUND: its owner has none of that name.
func (s *Secrets) Delete(ctx context.Context, by faas.Actor, owner, name string) error {
	err := s.Store.DeleteSecret(ctx, by, owner, name)
	s.changed(ctx, err)
	return err
}

// changed tells hosts, unless nothing changed. After another error something may have.
func (s *Secrets) changed(ctx context.Context, err error) {
	var known *faas.Error
	if errors.As(err, &known) && (known.Code == faas.NotFound || known.Code == faas.Conflict) {
		return
	}
	s.Changed(ctx)
}

// Values are those of an owner's secrets, without those that are not there. One that cannot be
// opened is as good as not there, and the log says so.
func (s *Secrets) Values(ctx context.Context, owner string, names []string) (faas.Secrets, error) {
	values := make(faas.Secrets, len(names))
	for _, name := range names {
		secret, err := s.Store.FindSecret(ctx, owner, name)
		switch {
		case faas.IsNotFound(err):
			continue
		case err != nil:
			return nil, err
		}
		value, err := s.open(ctx, secret)
		if err != nil {
			s.Logger.ErrorContext(ctx, "a secret cannot be opened", "owner", owner, "secret", name, "key", secret.Key, "error", err)
			continue
		}
		values[name] = string(value)
	}
	return values, nil
}

func (s *Secrets) open(ctx context.Context, secret faas.Secret) ([]byte, error) {
	if s.Sealer == nil {
		return nil, ErrNoSealer
	}
	return s.Sealer.Open(ctx, secret.Key, secret.Sealed, boundTo(secret.Owner, secret.Name))
}

// boundTo keeps the sealed value of one secret from being put in the place of another.
func boundTo(owner, name string) []byte {
	bound := []byte("envoke secret\x00")
	for _, part := range []string{owner, name} {
		bound = binary.BigEndian.AppendUint32(bound, uint32(len(part)))
		bound = append(bound, part...)
	}
	return bound
}

// resealBatch is how many secrets are read at once that are sealed with an older key.
const resealBatch = 100

// Reseal seals with the first key what is sealed with another, and tells how much that was.
// What no key opens stays as it is.
func (s *Secrets) Reseal(ctx context.Context, store Stale, first string) (resealed int, err error) {
	for {
		stale, err := store.StaleSecrets(ctx, first, resealBatch)
		if err != nil {
			return resealed, err
		}
		before := resealed
		for _, secret := range stale {
			if err := s.reseal(ctx, store, secret); err != nil {
				s.Logger.ErrorContext(ctx, "a secret keeps its old key", "owner", secret.Owner, "secret", secret.Name, "key", secret.Key, "error", err)
				continue
			}
			resealed++
		}
		if len(stale) < resealBatch || resealed == before {
			return resealed, nil
		}
	}
}

func (s *Secrets) reseal(ctx context.Context, store Stale, secret faas.Secret) error {
	value, err := s.open(ctx, secret)
	if err != nil {
		return err
	}
	before := secret.Sealed
	if secret.Key, secret.Sealed, err = s.Sealer.Seal(ctx, value, boundTo(secret.Owner, secret.Name)); err != nil {
		return err
	}
	return store.ResealSecret(ctx, faas.Itself(), secret, before)
}
