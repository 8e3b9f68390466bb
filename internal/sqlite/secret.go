package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"time"

	"envoke/internal/faas"
)

const (
	countSecrets = `SELECT count(*) FROM meta_secrets WHERE owner = ? AND name <> ?`

	putSecret = `INSERT INTO meta_secrets (owner, name, key_id, sealed, created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?5, ?5)
		ON CONFLICT (owner, name) DO UPDATE SET key_id = excluded.key_id, sealed = excluded.sealed, updated_at = excluded.updated_at`

	listSecrets = `SELECT name, created_at, updated_at FROM meta_secrets WHERE owner = ? ORDER BY name`

	findSecret = `SELECT key_id, sealed, created_at, updated_at FROM meta_secrets WHERE owner = ? AND name = ?`

	deleteSecret = `DELETE FROM meta_secrets WHERE owner = ? AND name = ?`

	staleSecrets = `SELECT owner, name, key_id, sealed FROM meta_secrets WHERE key_id <> ? ORDER BY owner, name LIMIT ?`

	resealSecret = `UPDATE meta_secrets SET key_id = ?, sealed = ? WHERE owner = ? AND name = ? AND sealed = ?`
)

// PutSecret stores a sealed value, of a new secret or in place of what was there. CONFLICT: its
// owner has as many as one may have.
func (s *Store) PutSecret(ctx context.Context, by faas.Actor, secret faas.Secret) error {
	err := s.update(ctx, func(tx *sql.Tx) error {
		var others int
		if err := tx.QueryRowContext(ctx, countSecrets, secret.Owner, secret.Name).Scan(&others); err != nil {
			return err
		}
		if others >= faas.SecretsPerOwner {
			return faas.ErrTooManySecrets
		}
		if _, err := tx.ExecContext(ctx, putSecret, secret.Owner, secret.Name, secret.Key, secret.Sealed, micros(time.Now())); err != nil {
			return err
		}
		return audit(ctx, tx, by, faas.AuditSecret(faas.SecretPut, secret.Owner, secret.Name))
	})
	return wrap(fmt.Sprintf("put secret %q", secret.Name), err)
}

// ListSecrets is all secrets of an owner by name, without their values.
func (s *Store) ListSecrets(ctx context.Context, owner string) ([]faas.Secret, error) {
	rows, err := s.read.QueryContext(ctx, listSecrets, owner)
	if err != nil {
		return nil, wrap("list secrets", err)
	}
	defer rows.Close()
	var secrets []faas.Secret
	for rows.Next() {
		secret := faas.Secret{Owner: owner}
		var created, updated int64
		if err := rows.Scan(&secret.Name, &created, &updated); err != nil {
			return nil, wrap("list secrets", err)
		}
		secret.CreatedAt, secret.UpdatedAt = fromMicros(created), fromMicros(updated)
		secrets = append(secrets, secret)
	}
	return secrets, wrap("list secrets", rows.Err())
}

// FindSecret finds a secret with its sealed value. NOT_FOUND: its owner has none of that name.
func (s *Store) FindSecret(ctx context.Context, owner, name string) (faas.Secret, error) {
	secret := faas.Secret{Owner: owner, Name: name}
	var created, updated int64
	err := s.read.QueryRowContext(ctx, findSecret, owner, name).Scan(&secret.Key, &secret.Sealed, &created, &updated)
	if err != nil {
		return faas.Secret{}, wrap(fmt.Sprintf("find secret %q", name), notFound(err, faas.ErrNoSecret))
	}
	secret.CreatedAt, secret.UpdatedAt = fromMicros(created), fromMicros(updated)
	return secret, nil
}

// DeleteSecret deletes a secret. NOT_FOUND: its owner has none of that name.
func (s *Store) DeleteSecret(ctx context.Context, by faas.Actor, owner, name string) error {
	err := s.update(ctx, func(tx *sql.Tx) error {
		done, err := tx.ExecContext(ctx, deleteSecret, owner, name)
		if err != nil {
			return err
		}
		if n, err := done.RowsAffected(); err != nil || n == 0 {
			return cmp.Or(err, error(faas.ErrNoSecret))
		}
		return audit(ctx, tx, by, faas.AuditSecret(faas.SecretDelete, owner, name))
	})
	return wrap(fmt.Sprintf("delete secret %q", name), err)
}

// StaleSecrets are at most so many that are sealed with another key, of any owner.
func (s *Store) StaleSecrets(ctx context.Context, key string, most int) ([]faas.Secret, error) {
	rows, err := s.read.QueryContext(ctx, staleSecrets, key, most)
	if err != nil {
		return nil, wrap("find stale secrets", err)
	}
	defer rows.Close()
	var secrets []faas.Secret
	for rows.Next() {
		var secret faas.Secret
		if err := rows.Scan(&secret.Owner, &secret.Name, &secret.Key, &secret.Sealed); err != nil {
			return nil, wrap("find stale secrets", err)
		}
		secrets = append(secrets, secret)
	}
	return secrets, wrap("find stale secrets", rows.Err())
}

// ResealSecret stores the same value sealed with another key, unless it has changed since it
// was sealed as before.
func (s *Store) ResealSecret(ctx context.Context, by faas.Actor, secret faas.Secret, before []byte) error {
	err := s.update(ctx, func(tx *sql.Tx) error {
		done, err := tx.ExecContext(ctx, resealSecret, secret.Key, secret.Sealed, secret.Owner, secret.Name, before)
		if err != nil {
			return err
		}
		if n, err := done.RowsAffected(); err != nil || n == 0 {
			return err
		}
		return audit(ctx, tx, by, faas.AuditSecret(faas.SecretReseal, secret.Owner, secret.Name))
	})
	return wrap(fmt.Sprintf("reseal secret %q", secret.Name), err)
}
