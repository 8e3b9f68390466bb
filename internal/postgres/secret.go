package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"envoke/internal/faas"
)

const (
	// Two who make secrets of one owner at once must not both be the last that may.
	lockOwner = `SELECT pg_advisory_xact_lock(hashtextextended('envoke secrets of ' || $1, 0))`

	countSecrets = `SELECT count(*) FROM meta.secrets WHERE owner = $1 AND name <> $2`

	putSecret = `INSERT INTO meta.secrets (owner, name, key_id, sealed, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $5)
		ON CONFLICT (owner, name) DO UPDATE SET key_id = excluded.key_id, sealed = excluded.sealed, updated_at = excluded.updated_at`

	listSecrets = `SELECT name, created_at, updated_at FROM meta.secrets WHERE owner = $1 ORDER BY name`

	findSecret = `SELECT key_id, sealed, created_at, updated_at FROM meta.secrets WHERE owner = $1 AND name = $2`

	deleteSecret = `DELETE FROM meta.secrets WHERE owner = $1 AND name = $2`

	staleSecrets = `SELECT owner, name, key_id, sealed FROM meta.secrets WHERE key_id <> $1 ORDER BY owner, name LIMIT $2`

	resealSecret = `UPDATE meta.secrets SET key_id = $1, sealed = $2 WHERE owner = $3 AND name = $4 AND sealed = $5`
)

// PutSecret stores a sealed value, of a new secret or in place of what was there. CONFLICT: its
// owner has as many as one may have.
func (s *Store) PutSecret(ctx context.Context, by faas.Actor, secret faas.Secret) error {
	err := s.update(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, lockOwner, secret.Owner); err != nil {
			return err
		}
		var others int
		if err := tx.QueryRow(ctx, countSecrets, secret.Owner, secret.Name).Scan(&others); err != nil {
			return err
		}
		if others >= faas.SecretsPerOwner {
			return faas.ErrTooManySecrets
		}
		if _, err := tx.Exec(ctx, putSecret, secret.Owner, secret.Name, secret.Key, secret.Sealed, time.Now()); err != nil {
			return err
		}
		return audit(ctx, tx, by, faas.AuditSecret(faas.SecretPut, secret.Owner, secret.Name))
	})
	return wrap(fmt.Sprintf("put secret %q", secret.Name), err)
}

// ListSecrets is all secrets of an owner by name, without their values.
func (s *Store) ListSecrets(ctx context.Context, owner string) ([]faas.Secret, error) {
	rows, err := s.pool.Query(ctx, listSecrets, owner)
	if err != nil {
		return nil, wrap("list secrets", err)
	}
	secrets, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (faas.Secret, error) {
		secret := faas.Secret{Owner: owner}
		err := row.Scan(&secret.Name, &secret.CreatedAt, &secret.UpdatedAt)
		secret.CreatedAt, secret.UpdatedAt = secret.CreatedAt.UTC(), secret.UpdatedAt.UTC()
		return secret, err
	})
	return secrets, wrap("list secrets", err)
}

// FindSecret finds a secret with its sealed value. NOT_FOUND: its owner has none of that name.
func (s *Store) FindSecret(ctx context.Context, owner, name string) (faas.Secret, error) {
	secret := faas.Secret{Owner: owner, Name: name}
	err := s.pool.QueryRow(ctx, findSecret, owner, name).Scan(&secret.Key, &secret.Sealed, &secret.CreatedAt, &secret.UpdatedAt)
	if err != nil {
		return faas.Secret{}, wrap(fmt.Sprintf("find secret %q", name), notFound(err, faas.ErrNoSecret))
	}
	secret.CreatedAt, secret.UpdatedAt = secret.CreatedAt.UTC(), secret.UpdatedAt.UTC()
	return secret, nil
}

// DeleteSecret deletes a secret. NOT_FOUND: its owner has none of that name.
func (s *Store) DeleteSecret(ctx context.Context, by faas.Actor, owner, name string) error {
	err := s.update(ctx, func(tx pgx.Tx) error {
		done, err := tx.Exec(ctx, deleteSecret, owner, name)
		if err != nil {
			return err
		}
		if done.RowsAffected() == 0 {
			return faas.ErrNoSecret
		}
		return audit(ctx, tx, by, faas.AuditSecret(faas.SecretDelete, owner, name))
	})
	return wrap(fmt.Sprintf("delete secret %q", name), err)
}

// StaleSecrets are at most so many that are sealed with another key, of any owner.
func (s *Store) StaleSecrets(ctx context.Context, key string, most int) ([]faas.Secret, error) {
	rows, err := s.pool.Query(ctx, staleSecrets, key, most)
	if err != nil {
		return nil, wrap("find stale secrets", err)
	}
	secrets, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (secret faas.Secret, err error) {
		err = row.Scan(&secret.Owner, &secret.Name, &secret.Key, &secret.Sealed)
		return secret, err
	})
	return secrets, wrap("find stale secrets", err)
}

// ResealSecret stores the same value sealed with another key, unless it has changed since it
// was sealed as before.
func (s *Store) ResealSecret(ctx context.Context, by faas.Actor, secret faas.Secret, before []byte) error {
	err := s.update(ctx, func(tx pgx.Tx) error {
		done, err := tx.Exec(ctx, resealSecret, secret.Key, secret.Sealed, secret.Owner, secret.Name, before)
		if err != nil || done.RowsAffected() == 0 {
			return err
		}
		return audit(ctx, tx, by, faas.AuditSecret(faas.SecretReseal, secret.Owner, secret.Name))
	})
	return wrap(fmt.Sprintf("reseal secret %q", secret.Name), err)
}
