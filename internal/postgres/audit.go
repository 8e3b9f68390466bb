package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"envoke/internal/faas"
)

const (
	insertAudit = `INSERT INTO meta.audit (at, action, target, namespace, user_namespace, user_id, proof, address, request_id, details)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`

	// Arguments: user, action, target, since, until. Empty texts and NULL select all.
	whereAudit = ` FROM meta.audit WHERE ($1::text = '' OR user_id = $1) AND ($2::text = '' OR action = $2) AND ($3::text = '' OR target = $3)
		AND ($4::timestamptz IS NULL OR at >= $4) AND ($5::timestamptz IS NULL OR at < $5) AND namespace = $6`

	countAudit = `SELECT count(*)` + whereAudit
	listAudit  = `SELECT number, at, action, target, namespace, user_namespace, user_id, proof, address, request_id, details` +
		whereAudit + ` ORDER BY number DESC LIMIT $7 OFFSET $8`
)

// audit tells of a change in the transaction that makes it.
func audit(ctx context.Context, tx pgx.Tx, by faas.Actor, e faas.AuditEntry) error {
	_, err := tx.Exec(ctx, insertAudit, time.Now(), string(e.Action), e.Target, string(e.Namespace),
		string(by.Namespace), by.UserID, by.Proof, by.Address, by.RequestID, string(e.Details))
	return err
}

// ListAudit is one page of changes, newest first, and how many there are on all pages.
func (s *Store) ListAudit(ctx context.Context, q faas.AuditQuery) (entries []faas.AuditEntry, total int, err error) {
	// One view of the data, so that the total is that of the page.
	view := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	args := []any{q.UserID, string(q.Action), q.Target, nullTime(q.Since), nullTime(q.Until), string(q.Namespace)}
	err = pgx.BeginTxFunc(ctx, s.pool, view, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, countAudit, args...).Scan(&total); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, listAudit, append(args, q.PerPage, (q.Page-1)*q.PerPage)...)
		if err != nil {
			return err
		}
		entries, err = pgx.CollectRows(rows, scanAudit)
		return err
	})
	return entries, total, wrap("list changes", err)
}

func scanAudit(row pgx.CollectableRow) (e faas.AuditEntry, err error) {
	err = row.Scan(&e.Number, &e.At, &e.Action, &e.Target, &e.Namespace,
		&e.Actor.Namespace, &e.Actor.UserID, &e.Actor.Proof, &e.Actor.Address, &e.Actor.RequestID, (*[]byte)(&e.Details))
	e.At = e.At.UTC()
	return e, err
}
