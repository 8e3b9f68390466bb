package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"envoke/internal/faas"
)

const (
	putUser = `INSERT INTO meta.users (namespace, user_id, created_at, updated_at) VALUES ($1, $2, $3, $3) ON CONFLICT DO NOTHING`

	createKey = `INSERT INTO meta.api_keys (id, api_key_hash, user_id, name, scopes, languages, created_at, created_by, expires_at, namespace)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`

	selectKeys = `SELECT id, api_key_hash, user_id, name, scopes, languages, created_at, created_by, expires_at, last_used_at, revoked_at, namespace
		FROM meta.api_keys`

	findKey   = selectKeys + ` WHERE api_key_hash = $1`
	listKeys  = selectKeys + ` WHERE namespace = $1 AND ($2::text = '' OR user_id = $2) ORDER BY number DESC LIMIT $3 OFFSET $4`
	countKeys = `SELECT count(*) FROM meta.api_keys WHERE namespace = $1 AND ($2::text = '' OR user_id = $2)`

	holdKey   = `SELECT user_id, revoked_at IS NOT NULL FROM meta.api_keys WHERE id = $1 AND namespace = $2 FOR NO KEY UPDATE`
	revokeKey = `UPDATE meta.api_keys SET revoked_at = $2 WHERE id = $1`

	// In one order, so that two who note the same keys do not wait for each other.
	useKeys = `UPDATE meta.api_keys k SET last_used_at = u.at
		FROM (SELECT k.number, u.at FROM unnest($1::text[], $2::timestamptz[]) AS u (id, at) JOIN meta.api_keys k ON k.id = u.id
			WHERE k.last_used_at IS NULL OR k.last_used_at < u.at ORDER BY k.number FOR NO KEY UPDATE OF k) u
		WHERE k.number = u.number`
)

// CreateKey stores a new API key, and its user where it is the user's first. CONFLICT: its id
// or hash is another's.
func (s *Store) CreateKey(ctx context.Context, by faas.Actor, k faas.APIKey) error {
	languages := make([]string, len(k.Languages)) // {} for nil
	for i, language := range k.Languages {
		languages[i] = string(language)
	}
	err := s.update(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, putUser, string(k.Namespace), k.UserID, k.CreatedAt); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, createKey, k.ID, k.Hash.String(), k.UserID, k.Name, k.Scopes.String(),
			languages, k.CreatedAt, k.CreatedBy, nullTime(k.ExpiresAt), string(k.Namespace))
		if err != nil {
			return err
		}
		return audit(ctx, tx, by, faas.AuditKey(&k))
	})
	if codeOf(err) == uniqueViolation {
		err = &faas.Error{Code: faas.Conflict, Message: "there is an API key of that id"}
	}
	return wrap("create API key", err)
}

// FindKey finds an API key by the hash of its secret, also one that has expired or was revoked.
func (s *Store) FindKey(ctx context.Context, hash faas.KeyHash) (faas.APIKey, error) {
	k, err := scanKey(s.pool.QueryRow(ctx, findKey, hash.String()))
	return k, wrap("find API key", notFound(err, noKey()))
}

func noKey() *faas.Error { return &faas.Error{Code: faas.NotFound, Message: "no such API key"} }

// ListKeys is one page of the API keys of a namespace, newest first, and how many there are on all pages.
func (s *Store) ListKeys(ctx context.Context, q faas.KeyQuery) (keys []faas.APIKey, total int, err error) {
	// One view of the data, so that the total is that of the page.
	view := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err = pgx.BeginTxFunc(ctx, s.pool, view, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, countKeys, string(q.Namespace), q.UserID).Scan(&total); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, listKeys, string(q.Namespace), q.UserID, q.PerPage, (q.Page-1)*q.PerPage)
		if err != nil {
			return err
		}
		keys, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (faas.APIKey, error) { return scanKey(row) })
		return err
	})
	return keys, total, wrap("list API keys", err)
}

func scanKey(row pgx.Row) (k faas.APIKey, err error) {
	var (
		hash, scopes           string
		expires, used, revoked *time.Time
	)
	err = row.Scan(&k.ID, &hash, &k.UserID, &k.Name, &scopes, &k.Languages, &k.CreatedAt, &k.CreatedBy, &expires, &used, &revoked, &k.Namespace)
	if err != nil {
		return k, err
	}
	if k.Hash, err = faas.ParseKeyHash(hash); err != nil {
		return k, fmt.Errorf("the hash of key %s: %w", k.ID, err)
	}
	k.Scopes = faas.ScopesOf(scopes)
	k.CreatedAt, k.ExpiresAt = k.CreatedAt.UTC(), orNever(expires)
	k.LastUsedAt, k.RevokedAt = orNever(used), orNever(revoked)
	return k, nil
}

// RevokeKey has an API key accepted no more. One that was revoked before stays so, since then.
// NOT_FOUND: the namespace has none of that id.
func (s *Store) RevokeKey(ctx context.Context, by faas.Actor, namespace faas.Namespace, id string) error {
	err := s.update(ctx, func(tx pgx.Tx) error {
		var (
			user    string
			revoked bool
		)
		if err := tx.QueryRow(ctx, holdKey, id, string(namespace)).Scan(&user, &revoked); err != nil || revoked {
			return notFound(err, noKey())
		}
		if _, err := tx.Exec(ctx, revokeKey, id, time.Now()); err != nil {
			return err
		}
		return audit(ctx, tx, by, faas.AuditNoKey(namespace, id, user))
	})
	return wrap("revoke API key", err)
}

// NoteKeyUses notes when API keys were last used, by their ids. What is known to be later stays,
// and ids that are none are let through.
func (s *Store) NoteKeyUses(ctx context.Context, used map[string]time.Time) error {
	ids, times := make([]string, 0, len(used)), make([]time.Time, 0, len(used))
	for id, at := range used {
		ids, times = append(ids, id), append(times, at)
	}
	_, err := s.exec(ctx, useKeys, ids, times)
	return wrap("note uses of API keys", err)
}
