package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"envoke/internal/faas"
)

const (
	// A function has a version at least, so no row means no function.
	listVersions = `SELECT v.version, v.script_digest, v.created_by, v.created_at, v.version = f.version,
		(SELECT json_group_array(a.alias ORDER BY a.alias) FROM meta_function_aliases a WHERE a.function_id = f.id AND a.version = v.version)
		FROM meta_functions f JOIN meta_function_versions v ON v.function_id = f.id
		WHERE f.language = ? AND f.title = ? AND f.namespace = ? AND f.is_active ORDER BY v.version DESC`

	setCurrent = `UPDATE meta_functions AS f SET version = v.version, description = v.description, tags = v.tags, updated_at = ?4
		FROM meta_function_versions v
		WHERE f.language = ?1 AND f.title = ?2 AND f.namespace = ?5 AND f.is_active AND v.function_id = f.id AND v.version = ?3`

	findID = `SELECT id FROM meta_functions WHERE language = ? AND title = ? AND namespace = ? AND is_active`

	unknownVersion = `SELECT value FROM json_each(?2)
		WHERE value NOT IN (SELECT version FROM meta_function_versions WHERE function_id = ?1) LIMIT 1`

	putAlias = `INSERT INTO meta_function_aliases (function_id, alias, version, weights, created_by, created_at, updated_at, environment)
		VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7)
		ON CONFLICT (function_id, alias) DO UPDATE SET version = excluded.version, weights = excluded.weights, environment = iif(?8, excluded.environment, environment),
			created_by = excluded.created_by, updated_at = excluded.updated_at
		RETURNING created_at, environment`

	listAliases = `SELECT alias, version, weights, created_by, created_at, updated_at, environment
		FROM meta_function_aliases WHERE function_id = ? ORDER BY alias`

	deleteAlias = `DELETE FROM meta_function_aliases WHERE function_id = ? AND alias = ?`
)

// ListVersions is all versions of a function, newest first. NOT_FOUND: there is no
// function of that name.
func (s *Store) ListVersions(ctx context.Context, name faas.Name) ([]faas.Version, error) {
	versions, err := s.listVersions(ctx, name)
	if err == nil && len(versions) == 0 {
		err = noFunction(faas.Ref{Name: name})
	}
	return versions, wrap(fmt.Sprintf("list versions of %q", name), err)
}

func (s *Store) listVersions(ctx context.Context, name faas.Name) ([]faas.Version, error) {
	rows, err := s.read.QueryContext(ctx, listVersions, string(name.Language), name.Title, string(name.Namespace))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var versions []faas.Version
	for rows.Next() {
		var (
			v       faas.Version
			aliases []byte
			created int64
		)
		if err := rows.Scan(&v.Number, &v.Digest, &v.UserID, &created, &v.Current, &aliases); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(aliases, &v.Aliases); err != nil {
			return nil, err
		}
		v.CreatedAt = fromMicros(created)
		versions = append(versions, v)
	}
	return versions, rows.Err()
}

// SetCurrentVersion makes a version that exists the current one. NOT_FOUND: there
// is no such function, or no such version of it.
func (s *Store) SetCurrentVersion(ctx context.Context, by faas.Actor, name faas.Name, version int) error {
	return s.ofFunction(ctx, fmt.Sprintf("make version %d of %q the current one", version, name), name, func(tx *sql.Tx, id int64) error {
		if err := checkVersions(ctx, tx, id, []int{version}); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, setCurrent, string(name.Language), name.Title, version, micros(time.Now()), string(name.Namespace)); err != nil {
			return err
		}
		return audit(ctx, tx, by, faas.AuditCurrent(name, version))
	})
}

// PutAlias sets an alias, a new one or one that exists, and returns it as stored.
// NOT_FOUND: there is no such function, or not all versions that the alias names.
func (s *Store) PutAlias(ctx context.Context, by faas.Actor, name faas.Name, alias faas.Alias) (faas.Alias, error) {
	err := s.ofFunction(ctx, fmt.Sprintf("put alias %q of %q", alias.Name, name), name, func(tx *sql.Tx, id int64) error {
		versions := []int{alias.Version}
		for version := range alias.Weights {
			versions = append(versions, version)
		}
		if err := checkVersions(ctx, tx, id, versions); err != nil {
			return err
		}
		var weights json.RawMessage
		if len(alias.Weights) > 0 {
			weights, _ = json.Marshal(alias.Weights) // whole numbers only: it cannot fail
		}
		now := micros(time.Now())
		var created int64
		var environment []byte
		err := tx.QueryRowContext(ctx, putAlias, id, alias.Name, alias.Version, document(weights), alias.UserID, now,
			document(alias.Environment.JSON()), alias.Environment != nil).Scan(&created, &environment)
		if err != nil {
			return err
		}
		told := faas.AuditAlias(name, &alias, alias.Environment != nil)
		if alias.Environment, err = faas.ParseEnvironment(environment); err != nil {
			return err
		}
		alias.CreatedAt, alias.UpdatedAt = fromMicros(created), fromMicros(now)
		return audit(ctx, tx, by, told)
	})
	return alias, err
}

func checkVersions(ctx context.Context, tx *sql.Tx, function int64, versions []int) error {
	list, _ := json.Marshal(versions) // whole numbers only: it cannot fail
	var missing int
	err := tx.QueryRowContext(ctx, unknownVersion, function, string(list)).Scan(&missing)
	switch {
	case err == nil:
		return &faas.Error{Code: faas.NotFound, Message: fmt.Sprintf("the function has no version %d", missing)}
	case errors.Is(err, sql.ErrNoRows): // all are there
		return nil
	}
	return err
}

// ListAliases is all aliases of a function by name. NOT_FOUND: there is no function
// of that name.
func (s *Store) ListAliases(ctx context.Context, name faas.Name) ([]faas.Alias, error) {
	aliases, err := s.listAliases(ctx, name)
	return aliases, wrap(fmt.Sprintf("list aliases of %q", name), notFound(err, noFunction(faas.Ref{Name: name})))
}

func (s *Store) listAliases(ctx context.Context, name faas.Name) ([]faas.Alias, error) {
	var id int64
	if err := s.read.QueryRowContext(ctx, findID, string(name.Language), name.Title, string(name.Namespace)).Scan(&id); err != nil {
		return nil, err
	}
	rows, err := s.read.QueryContext(ctx, listAliases, id)
	if err != nil {
		return nil, err
	}
	return scanAliases(rows)
}

func scanAliases(rows *sql.Rows) ([]faas.Alias, error) {
	defer rows.Close()
	var aliases []faas.Alias
	for rows.Next() {
		var (
			a                    faas.Alias
			weights, environment []byte
			created, updated     int64
		)
		if err := rows.Scan(&a.Name, &a.Version, &weights, &a.UserID, &created, &updated, &environment); err != nil {
			return nil, err
		}
		if weights != nil {
			if err := json.Unmarshal(weights, &a.Weights); err != nil {
				return nil, err
			}
		}
		var err error
		if a.Environment, err = faas.ParseEnvironment(environment); err != nil {
			return nil, err
		}
		a.CreatedAt, a.UpdatedAt = fromMicros(created), fromMicros(updated)
		aliases = append(aliases, a)
	}
	return aliases, rows.Err()
}

// DeleteAlias deletes an alias. NOT_FOUND: there is no such function, or no such
// alias of it.
func (s *Store) DeleteAlias(ctx context.Context, by faas.Actor, name faas.Name, alias string) error {
	return s.ofFunction(ctx, fmt.Sprintf("delete alias %q of %q", alias, name), name, func(tx *sql.Tx, id int64) error {
		result, err := tx.ExecContext(ctx, deleteAlias, id, alias)
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil || n == 0 {
			return cmp.Or(err, error(&faas.Error{Code: faas.NotFound, Message: "the function has no alias " + alias}))
		}
		return audit(ctx, tx, by, faas.AuditNoAlias(name, alias))
	})
}

// ofFunction runs do in a transaction with the id of a registered function.
func (s *Store) ofFunction(ctx context.Context, operation string, name faas.Name, do func(*sql.Tx, int64) error) error {
	err := s.update(ctx, func(tx *sql.Tx) error {
		var id int64
		if err := tx.QueryRowContext(ctx, findID, string(name.Language), name.Title, string(name.Namespace)).Scan(&id); err != nil {
			return notFound(err, noFunction(faas.Ref{Name: name}))
		}
		return do(tx, id)
	})
	return wrap(operation, err)
}
