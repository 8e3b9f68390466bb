package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"envoke/internal/faas"
)

const (
	// Arguments: type, language, user, tag, now, namespace. The empty string selects all, but of
	// namespaces the default one.
	wherePredefined = ` FROM meta.functions WHERE is_active AND namespace = $6::text AND $1::text IN ('', 'predefined')
		AND ($2::text = '' OR language = $2) AND ($3::text = '' OR created_by = $3)
		AND ($4::text = '' OR tags @> ARRAY[$4])`

	whereDynamic = ` FROM meta.sessions WHERE function_version = 0 AND expires_at > $5::timestamptz AND status = 'active'
		AND namespace = $6::text AND $1::text IN ('', 'dynamic') AND ($2::text = '' OR language = $2) AND ($3::text = '' OR user_id = $3) AND $4::text = ''`

	countFunctions = `SELECT (SELECT count(*)` + wherePredefined + `) + (SELECT count(*)` + whereDynamic + `)`

	// Each half ends at the last row that the page could need, so that neither is
	// sorted as a whole: their indexes are in this order.
	listFunctions = `SELECT language, title, description, user_id, version, tags, created_at, updated_at FROM (
		(SELECT 0 AS half, id AS number, '' AS key, language, title, description, created_by AS user_id, version, tags, created_at, updated_at` +
		wherePredefined + ` ORDER BY created_at DESC, id DESC LIMIT $7::bigint + $8::bigint)
		UNION ALL
		(SELECT 1, 0, id, language, title, '', user_id, 0, '{}'::text[], created_at, created_at` +
		whereDynamic + ` ORDER BY created_at DESC, id DESC LIMIT $7::bigint + $8::bigint)
	) AS halves ORDER BY created_at DESC, half, number DESC, key COLLATE "C" DESC LIMIT $7 OFFSET $8`
)

// ListFunctions is one page of functions, newest first and without their code, and
// how many there are on all pages. Live sessions' own scripts are functions of type
// dynamic.
func (s *Store) ListFunctions(ctx context.Context, q faas.FunctionQuery) (functions []faas.Function, total int, err error) {
	args := []any{string(q.Type), string(q.Language), q.UserID, q.Tag, time.Now(), string(q.Namespace)}
	// One view of the data, so that the total is that of the page.
	view := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err = pgx.BeginTxFunc(ctx, s.pool, view, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, countFunctions, args...).Scan(&total); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, listFunctions, append(args, q.PerPage, (q.Page-1)*q.PerPage)...)
		if err != nil {
			return err
		}
		functions, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (faas.Function, error) {
			f, err := scanFunction(row)
			f.Name.Namespace = q.Namespace
			return f, err
		})
		return err
	})
	return functions, total, wrap("list functions", err)
}

func scanFunction(row pgx.CollectableRow) (f faas.Function, err error) {
	err = row.Scan(&f.Name.Language, &f.Name.Title, &f.Description, &f.UserID, &f.Version, &f.Tags, &f.CreatedAt, &f.UpdatedAt)
	f.Script.Language = f.Name.Language
	f.CreatedAt, f.UpdatedAt = f.CreatedAt.UTC(), f.UpdatedAt.UTC()
	return f, err
}
