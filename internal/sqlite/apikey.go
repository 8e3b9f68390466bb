package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	sqlite3 "modernc.org/sqlite/lib"

	"envoke/internal/faas"
)

const (
	putUser = `INSERT INTO meta_users (namespace, user_id, created_at, updated_at) VALUES (?1, ?2, ?3, ?3) ON CONFLICT DO NOTHING`

	createKey = `INSERT INTO meta_api_keys (id, api_key_hash, user_id, name, scopes, languages, created_at, created_by, expires_at, namespace)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`

	selectKeys = `SELECT id, api_key_hash, user_id, name, scopes, languages, created_at, created_by, expires_at, last_used_at, revoked_at, namespace
		FROM meta_api_keys`

	findKey   = selectKeys + ` WHERE api_key_hash = ?`
	listKeys  = selectKeys + ` WHERE namespace = ?1 AND (?2 = '' OR user_id = ?2) ORDER BY number DESC LIMIT ?3 OFFSET ?4`
	countKeys = `SELECT count(*) FROM meta_api_keys WHERE namespace = ?1 AND (?2 = '' OR user_id = ?2)`

	findKeyUser = `SELECT user_id, revoked_at IS NOT NULL FROM meta_api_keys WHERE id = ? AND namespace = ?`
	revokeKey   = `UPDATE meta_api_keys SET revoked_at = ?2 WHERE id = ?1`

	useKey = `UPDATE meta_api_keys SET last_used_at = ?2 WHERE id = ?1 AND coalesce(last_used_at < ?2, true)`
)

// CreateKey stores a new API key, and its user where it is the user's first. CONFLICT: its id
// or hash is another's.
func (s *Store) CreateKey(ctx context.Context, by faas.Actor, k faas.APIKey) error {
	languages, err := json.Marshal(append([]faas.Language{}, k.Languages...)) // [] for nil
	if err != nil {
		return fmt.Errorf("create API key: %w", err)
	}
	err = s.update(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, putUser, string(k.Namespace), k.UserID, micros(k.CreatedAt)); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, createKey, k.ID, k.Hash.String(), k.UserID, k.Name, k.Scopes.String(),
			string(languages), micros(k.CreatedAt), k.CreatedBy, nullMicros(k.ExpiresAt), string(k.Namespace))
		if err != nil {
			return err
		}
		return audit(ctx, tx, by, faas.AuditKey(&k))
	})
	if code := extendedCode(err); code == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY || code == sqlite3.SQLITE_CONSTRAINT_UNIQUE {
		err = &faas.Error{Code: faas.Conflict, Message: "there is an API key of that id"}
	}
	return wrap("create API key", err)
}

// FindKey finds an API key by the hash of its secret, also one that has expired or was revoked.
func (s *Store) FindKey(ctx context.Context, hash faas.KeyHash) (faas.APIKey, error) {
	k, err := scanKey(s.findKey.QueryRowContext(ctx, hash.String()))
	return k, wrap("find API key", notFound(err, noKey()))
}

func noKey() *faas.Error { return &faas.Error{Code: faas.NotFound, Message: "no such API key"} }

// ListKeys is one page of the API keys of a namespace, newest first, and how many there are on all pages.
func (s *Store) ListKeys(ctx context.Context, q faas.KeyQuery) (keys []faas.APIKey, total int, err error) {
	tx, err := s.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true}) // the total is that of the page
	if err != nil {
		return nil, 0, wrap("list API keys", err)
	}
	defer func() { _ = tx.Rollback() }() // nothing was written
	if err := tx.QueryRowContext(ctx, countKeys, string(q.Namespace), q.UserID).Scan(&total); err != nil {
		return nil, 0, wrap("count API keys", err)
	}
	rows, err := tx.QueryContext(ctx, listKeys, string(q.Namespace), q.UserID, q.PerPage, (q.Page-1)*q.PerPage)
	if err != nil {
		return nil, 0, wrap("list API keys", err)
	}
	defer rows.Close()
	for rows.Next() {
		k, err := scanKey(rows)
		if err != nil {
			return nil, 0, wrap("list API keys", err)
		}
		keys = append(keys, k)
	}
	return keys, total, wrap("list API keys", rows.Err())
}

func scanKey(row interface{ Scan(...any) error }) (k faas.APIKey, err error) {
	var (
		hash, scopes           string
		languages              []byte
		created                int64
		expires, used, revoked sql.NullInt64
	)
	err = row.Scan(&k.ID, &hash, &k.UserID, &k.Name, &scopes, &languages, &created, &k.CreatedBy, &expires, &used, &revoked, &k.Namespace)
	if err != nil {
		return k, err
	}
	if k.Hash, err = faas.ParseKeyHash(hash); err != nil {
		return k, fmt.Errorf("the hash of key %s: %w", k.ID, err)
	}
	if err := json.Unmarshal(languages, &k.Languages); err != nil {
		return k, err
	}
	k.Scopes = faas.ScopesOf(scopes)
	k.CreatedAt, k.ExpiresAt = fromMicros(created), fromNullMicros(expires)
	k.LastUsedAt, k.RevokedAt = fromNullMicros(used), fromNullMicros(revoked)
	return k, nil
}

// RevokeKey has an API key accepted no more. One that was revoked before stays so, since then.
// NOT_FOUND: the namespace has none of that id.
func (s *Store) RevokeKey(ctx context.Context, by faas.Actor, namespace faas.Namespace, id string) error {
	err := s.update(ctx, func(tx *sql.Tx) error {
		var (
			user    string
			revoked bool
		)
		if err := tx.QueryRowContext(ctx, findKeyUser, id, string(namespace)).Scan(&user, &revoked); err != nil || revoked {
			return notFound(err, noKey())
		}
		if _, err := tx.ExecContext(ctx, revokeKey, id, micros(time.Now())); err != nil {
			return err
		}
		return audit(ctx, tx, by, faas.AuditNoKey(namespace, id, user))
	})
	return wrap("revoke API key", err)
}

// NoteKeyUses notes when API keys were last used, by their ids. What is known to be later stays,
// and ids that are none are let through.
func (s *Store) NoteKeyUses(ctx context.Context, used map[string]time.Time) error {
	err := s.update(ctx, func(tx *sql.Tx) error {
		for id, at := range used {
			if _, err := tx.ExecContext(ctx, useKey, id, micros(at)); err != nil {
				return err
			}
		}
		return nil
	})
	return wrap("note uses of API keys", err)
}
