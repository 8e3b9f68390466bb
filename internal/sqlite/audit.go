package sqlite

import (
	"context"
	"database/sql"
	"time"

	"envoke/internal/faas"
)

const (
	insertAudit = `INSERT INTO meta_audit (at, action, target, namespace, user_namespace, user_id, proof, address, request_id, details)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`

	// Arguments: user, action, target, since, until. Empty texts and NULL select all.
	whereAudit = ` FROM meta_audit WHERE (?1 = '' OR user_id = ?1) AND (?2 = '' OR action = ?2) AND (?3 = '' OR target = ?3)
		AND (?4 IS NULL OR at >= ?4) AND (?5 IS NULL OR at < ?5) AND namespace = ?6`

	countAudit = `SELECT count(*)` + whereAudit
	listAudit  = `SELECT number, at, action, target, namespace, user_namespace, user_id, proof, address, request_id, details` +
		whereAudit + ` ORDER BY number DESC LIMIT ?7 OFFSET ?8`
)

// audit tells of a change in the transaction that makes it.
func audit(ctx context.Context, tx *sql.Tx, by faas.Actor, e faas.AuditEntry) error {
	_, err := tx.ExecContext(ctx, insertAudit, micros(time.Now()), string(e.Action), e.Target, string(e.Namespace),
		string(by.Namespace), by.UserID, by.Proof, by.Address, by.RequestID, string(e.Details))
	return err
}

// ListAudit is one page of changes, newest first, and how many there are on all pages.
func (s *Store) ListAudit(ctx context.Context, q faas.AuditQuery) (entries []faas.AuditEntry, total int, err error) {
	tx, err := s.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true}) // the total is that of the page
	if err != nil {
		return nil, 0, wrap("list changes", err)
	}
	defer func() { _ = tx.Rollback() }() // nothing was written
	args := []any{q.UserID, string(q.Action), q.Target, nullMicros(q.Since), nullMicros(q.Until), string(q.Namespace)}
	if err := tx.QueryRowContext(ctx, countAudit, args...).Scan(&total); err != nil {
		return nil, 0, wrap("count changes", err)
	}
	rows, err := tx.QueryContext(ctx, listAudit, append(args, q.PerPage, (q.Page-1)*q.PerPage)...)
	if err != nil {
		return nil, 0, wrap("list changes", err)
	}
	defer rows.Close()
	for rows.Next() {
		var (
			e  faas.AuditEntry
			at int64
		)
		err := rows.Scan(&e.Number, &at, &e.Action, &e.Target, &e.Namespace,
			&e.Actor.Namespace, &e.Actor.UserID, &e.Actor.Proof, &e.Actor.Address, &e.Actor.RequestID, (*[]byte)(&e.Details))
		if err != nil {
			return nil, 0, wrap("list changes", err)
		}
		e.At = fromMicros(at)
		entries = append(entries, e)
	}
	return entries, total, wrap("list changes", rows.Err())
}
