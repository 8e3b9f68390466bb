package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"envoke/internal/faas"
)

const (
	putFunction = `INSERT INTO meta_functions (language, title, description, tags, version, created_by, created_at, updated_at)
		VALUES (?1, ?2, ?3, ?4, 1, ?5, ?6, ?6)
		ON CONFLICT (language, title) DO UPDATE SET description = excluded.description, tags = excluded.tags,
			is_active = 1, version = version + 1, updated_at = excluded.updated_at
		RETURNING id, version`

	putVersion = `INSERT INTO meta_function_versions (function_id, version, script_digest, schema_definition, examples,
		timeout_ms, cache_ttl_ms, created_by, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`

	findFunction = `SELECT f.description, f.tags, f.version, f.created_by, f.created_at, f.updated_at,
		v.schema_definition, v.examples, v.timeout_ms, v.cache_ttl_ms, s.digest, s.source, s.compile_options
		FROM meta_functions f
		JOIN meta_function_versions v ON v.function_id = f.id AND v.version = f.version
		JOIN meta_scripts s ON s.digest = v.script_digest
		WHERE f.language = ? AND f.title = ? AND f.is_active`

	// Arguments: type, language, user, tag, now. The empty string selects all.
	wherePredefined = ` FROM meta_functions WHERE is_active AND ?1 IN ('', 'predefined')
		AND (?2 = '' OR language = ?2) AND (?3 = '' OR created_by = ?3)
		AND (?4 = '' OR ?4 IN (SELECT value FROM json_each(tags)))`

	whereDynamic = ` FROM meta_sessions WHERE function_version = 0 AND expires_at > ?5 AND status = 'active'
		AND ?1 IN ('', 'dynamic') AND (?2 = '' OR language = ?2) AND (?3 = '' OR user_id = ?3) AND ?4 = ''`

	countFunctions = `SELECT (SELECT count(*)` + wherePredefined + `) + (SELECT count(*)` + whereDynamic + `)`

	// Each half ends at the last row that the page could need, so that neither is
	// sorted as a whole: their indexes are in this order.
	listFunctions = `SELECT language, title, description, user_id, version, tags, created_at, updated_at FROM (
		SELECT * FROM (SELECT 0 AS half, id AS key, language, title, description, created_by AS user_id, version, tags, created_at, updated_at` +
		wherePredefined + ` ORDER BY created_at DESC, id DESC LIMIT ?6 + ?7)
		UNION ALL
		SELECT * FROM (SELECT 1, rowid, language, title, '', user_id, 0, '[]', created_at, created_at` +
		whereDynamic + ` ORDER BY created_at DESC, rowid DESC LIMIT ?6 + ?7)
	) ORDER BY created_at DESC, half, key DESC LIMIT ?6 OFFSET ?7`
)

// PutFunction registers a function, or a new version of one that exists: its
// number is one more than the last. Version and times are the store's to give.
func (s *Store) PutFunction(ctx context.Context, f faas.Function) error {
	err := s.update(ctx, func(tx *sql.Tx) error {
		tags, err := json.Marshal(append([]string{}, f.Tags...)) // [] for nil
		if err != nil {
			return err
		}
		if err := s.putScript(ctx, tx, f.Script); err != nil {
			return err
		}
		now := micros(time.Now())
		var id, version int64
		err = tx.QueryRowContext(ctx, putFunction, string(f.Name.Language), f.Name.Title, f.Description, string(tags),
			f.UserID, now).Scan(&id, &version)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, putVersion, id, version, string(f.Script.Digest), document(f.Schema),
			document(f.Examples), f.Timeout.Milliseconds(), f.CacheTTL.Milliseconds(), f.UserID, now)
		return err
	})
	return wrap(fmt.Sprintf("put function %q", f.Name), err)
}

// FindFunction finds the current version of a registered function, code included.
func (s *Store) FindFunction(ctx context.Context, name faas.Name) (faas.Function, error) {
	f := faas.Function{Name: name, Script: faas.Script{Language: name.Language}}
	var (
		tags                             []byte
		timeout, cache, created, updated int64
	)
	err := s.findFunction.QueryRowContext(ctx, string(name.Language), name.Title).Scan(&f.Description, &tags, &f.Version,
		&f.UserID, &created, &updated, (*[]byte)(&f.Schema), (*[]byte)(&f.Examples), &timeout, &cache,
		&f.Script.Digest, &f.Script.Source, (*[]byte)(&f.Script.CompileOptions))
	if err == nil {
		err = json.Unmarshal(tags, &f.Tags)
	}
	if err != nil {
		err = notFound(err, &faas.Error{Code: faas.NotFound, Message: fmt.Sprintf("no function is registered as %s", name)})
		return faas.Function{}, wrap(fmt.Sprintf("find function %q", name), err)
	}
	f.Timeout, f.CacheTTL = fromMillis(timeout), fromMillis(cache)
	f.CreatedAt, f.UpdatedAt = fromMicros(created), fromMicros(updated)
	return f, nil
}

// ListFunctions is one page of functions, newest first and without their code, and
// how many there are on all pages. Live sessions' own scripts are functions of type
// dynamic.
func (s *Store) ListFunctions(ctx context.Context, q faas.FunctionQuery) (functions []faas.Function, total int, err error) {
	args := []any{string(q.Type), string(q.Language), q.UserID, q.Tag, micros(time.Now())}
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
	functions, err = scanFunctions(rows)
	return functions, total, wrap("list functions", err)
}

func scanFunctions(rows *sql.Rows) ([]faas.Function, error) {
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
		f.Script.Language = f.Name.Language
		f.CreatedAt, f.UpdatedAt = fromMicros(created), fromMicros(updated)
		functions = append(functions, f)
	}
	return functions, rows.Err()
}
