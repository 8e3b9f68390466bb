package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"time"

	"envoke/internal/faas"
)

const (
	// Arguments: type, language, user, tag, now, namespace. The empty string selects all, but of
	// namespaces the default one.
	wherePredefined = ` FROM meta_functions WHERE is_active AND namespace = ?6 AND ?1 IN ('', 'predefined')
		AND (?2 = '' OR language = ?2) AND (?3 = '' OR created_by = ?3)
		AND (?4 = '' OR ?4 IN (SELECT value FROM json_each(tags)))`

	whereDynamic = ` FROM meta_sessions WHERE function_version = 0 AND expires_at > ?5 AND status = 'active'
		AND namespace = ?6 AND ?1 IN ('', 'dynamic') AND (?2 = '' OR language = ?2) AND (?3 = '' OR user_id = ?3) AND ?4 = ''`

	countFunctions = `SELECT (SELECT count(*)` + wherePredefined + `) + (SELECT count(*)` + whereDynamic + `)`

	// Each half ends at the last row that the page could need, so that neither is
	// sorted as a whole: their indexes are in this order.
	listFunctions = `SELECT language, title, description, user_id, version, tags, created_at, updated_at FROM (
		SELECT * FROM (SELECT 0 AS half, id AS key, language, title, description, created_by AS user_id, version, tags, created_at, updated_at` +
		wherePredefined + ` ORDER BY created_at DESC, id DESC LIMIT ?7 + ?8)
		UNION ALL
		SELECT * FROM (SELECT 1, rowid, language, title, '', user_id, 0, '[]', created_at, created_at` +
		whereDynamic + ` ORDER BY created_at DESC, rowid DESC LIMIT ?7 + ?8)
	) ORDER BY created_at DESC, half, key DESC LIMIT ?7 OFFSET ?8`
)

// ListFunctions is one page of functions, newest first and without their code, and
// how many there are on all pages. Live sessions' own scripts are functions of type
// dynamic.
func (s *Store) ListFunctions(ctx context.Context, q faas.FunctionQuery) (functions []faas.Function, total int, err error) {
	args := []any{string(q.Type), string(q.Language), q.UserID, q.Tag, micros(time.Now()), string(q.Namespace)}
	// One transaction, so that the total is that of the page.
	tx, err := s.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, 0, wrap("list functions", err)
	}
	defer func() { _ = tx.Rollback() }() // nothing was written
	if err := tx.StmtContext(ctx, s.countFunctions).QueryRowContext(ctx, args...).Scan(&total); err != nil {
		return nil, 0, wrap("count functions", err)
	}
	rows, err := tx.StmtContext(ctx, s.listFunctions).QueryContext(ctx, append(args, q.PerPage, (q.Page-1)*q.PerPage)...)
	if err != nil {
		return nil, 0, wrap("list functions", err)
	}
	functions, err = scanFunctions(rows, q.Namespace)
	return functions, total, wrap("list functions", err)
}

func scanFunctions(rows *sql.Rows, namespace faas.Namespace) ([]faas.Function, error) {
	defer rows.Close()
	var functions []faas.Function
	for rows.Next() {
		var (
			f                faas.Function
			tags             []byte
			created, updated int64
		)
		err := rows.Scan(&f.Name.Language, &f.Name.Title, &f.Description, &f.UserID, &f.Version, &tags, &created, &updated)
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(tags, &f.Tags); err != nil {
			return nil, err
		}
		f.Name.Namespace, f.Script.Language = namespace, f.Name.Language
		f.CreatedAt, f.UpdatedAt = fromMicros(created), fromMicros(updated)
		functions = append(functions, f)
	}
	return functions, rows.Err()
}
