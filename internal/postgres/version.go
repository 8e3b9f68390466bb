package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"envoke/internal/faas"
)

const (
	// A function has a version at least, so no row means no function.
	listVersions = `SELECT v.version, v.script_digest, v.created_by, v.created_at, v.version = f.version,
		ARRAY(SELECT a.alias FROM meta.function_aliases a WHERE a.function_id = f.id AND a.version = v.version ORDER BY a.alias)
		FROM meta.functions f JOIN meta.function_versions v ON v.function_id = f.id
		WHERE f.language_title = $1 AND f.namespace = $2 AND f.is_active ORDER BY v.version DESC`

	setCurrent = `UPDATE meta.functions AS f SET version = v.version, description = v.description, tags = v.tags, updated_at = $3
		FROM meta.function_versions v WHERE f.id = $1 AND v.function_id = f.id AND v.version = $2`

	findID = `SELECT id FROM meta.functions WHERE language_title = $1 AND namespace = $2 AND is_active`

	// Who deletes the function, or changes it too, waits until the transaction ends.
	holdID = findID + ` FOR NO KEY UPDATE`

	unknownVersion = `SELECT wanted FROM unnest($2::integer[]) AS wanted
		WHERE wanted NOT IN (SELECT version FROM meta.function_versions WHERE function_id = $1) LIMIT 1`

	putAlias = `INSERT INTO meta.function_aliases AS a (function_id, alias, version, weights, created_by, created_at, updated_at, environment)
		VALUES ($1, $2, $3, $4::text::jsonb, $5, $6, $6, $7)
		ON CONFLICT (function_id, alias) DO UPDATE SET version = excluded.version, weights = excluded.weights, environment = CASE WHEN $8 THEN excluded.environment ELSE a.environment END,
			created_by = excluded.created_by, updated_at = excluded.updated_at
		RETURNING created_at, environment`

	listAliases = `SELECT alias, version, weights::text, created_by, created_at, updated_at, environment
		FROM meta.function_aliases WHERE function_id = $1 ORDER BY alias`

	deleteAlias = `DELETE FROM meta.function_aliases WHERE function_id = $1 AND alias = $2`
)

// ListVersions is all versions of a function, newest first. NOT_FOUND: there is no
// function of that name.
func (s *Store) ListVersions(ctx context.Context, name faas.Name) ([]faas.Version, error) {
	rows, err := s.pool.Query(ctx, listVersions, name.String(), string(name.Namespace))
	if err != nil {
		return nil, wrap(fmt.Sprintf("list versions of %q", name), err)
	}
	versions, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (v faas.Version, err error) {
		err = row.Scan(&v.Number, &v.Digest, &v.UserID, &v.CreatedAt, &v.Current, &v.Aliases)
		v.CreatedAt = v.CreatedAt.UTC()
		return v, err
	})
	if err == nil && len(versions) == 0 {
		err = noFunction(faas.Ref{Name: name})
	}
	return versions, wrap(fmt.Sprintf("list versions of %q", name), err)
}

// SetCurrentVersion makes a version that exists the current one. NOT_FOUND: there
// is no such function, or no such version of it.
func (s *Store) SetCurrentVersion(ctx context.Context, by faas.Actor, name faas.Name, version int) error {
	return s.ofFunction(ctx, fmt.Sprintf("make version %d of %q the current one", version, name), name, func(tx pgx.Tx, id int64) error {
		if err := checkVersions(ctx, tx, id, []int{version}); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, setCurrent, id, version, time.Now()); err != nil {
			return err
		}
		return audit(ctx, tx, by, faas.AuditCurrent(name, version))
	})
}

// PutAlias sets an alias, a new one or one that exists, and returns it as stored.
// NOT_FOUND: there is no such function, or not all versions that the alias names.
func (s *Store) PutAlias(ctx context.Context, by faas.Actor, name faas.Name, alias faas.Alias) (faas.Alias, error) {
	err := s.ofFunction(ctx, fmt.Sprintf("put alias %q of %q", alias.Name, name), name, func(tx pgx.Tx, id int64) error {
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
		alias.UpdatedAt = stored(time.Now())
		var environment []byte
		err := tx.QueryRow(ctx, putAlias, id, alias.Name, alias.Version, document(weights), alias.UserID, alias.UpdatedAt,
			document(alias.Environment.JSON()), alias.Environment != nil).Scan(&alias.CreatedAt, &environment)
		if err != nil {
			return err
		}
		told := faas.AuditAlias(name, &alias, alias.Environment != nil)
		if alias.Environment, err = faas.ParseEnvironment(environment); err != nil {
			return err
		}
		alias.CreatedAt = alias.CreatedAt.UTC()
		return audit(ctx, tx, by, told)
	})
	return alias, err
}

func checkVersions(ctx context.Context, tx pgx.Tx, function int64, versions []int) error {
	var missing int
	err := tx.QueryRow(ctx, unknownVersion, function, versions).Scan(&missing)
	switch {
	case err == nil:
		return &faas.Error{Code: faas.NotFound, Message: fmt.Sprintf("the function has no version %d", missing)}
	case errors.Is(err, pgx.ErrNoRows): // all are there
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
	if err := s.pool.QueryRow(ctx, findID, name.String(), string(name.Namespace)).Scan(&id); err != nil {
		return nil, err
	}
	rows, err := s.pool.Query(ctx, listAliases, id)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanAlias)
}

func scanAlias(row pgx.CollectableRow) (a faas.Alias, err error) {
	var weights, environment []byte
	err = row.Scan(&a.Name, &a.Version, &weights, &a.UserID, &a.CreatedAt, &a.UpdatedAt, &environment)
	if err == nil && weights != nil {
		err = json.Unmarshal(weights, &a.Weights)
	}
	if err == nil {
		a.Environment, err = faas.ParseEnvironment(environment)
	}
	a.CreatedAt, a.UpdatedAt = a.CreatedAt.UTC(), a.UpdatedAt.UTC()
	return a, err
}

// DeleteAlias deletes an alias. NOT_FOUND: there is no such function, or no such
// alias of it.
func (s *Store) DeleteAlias(ctx context.Context, by faas.Actor, name faas.Name, alias string) error {
	return s.ofFunction(ctx, fmt.Sprintf("delete alias %q of %q", alias, name), name, func(tx pgx.Tx, id int64) error {
		done, err := tx.Exec(ctx, deleteAlias, id, alias)
		if err != nil {
			return err
		}
		if done.RowsAffected() == 0 {
			return &faas.Error{Code: faas.NotFound, Message: "the function has no alias " + alias}
		}
		return audit(ctx, tx, by, faas.AuditNoAlias(name, alias))
	})
}

// ofFunction runs do in a transaction with the id of a registered function, which nobody else
// changes meanwhile.
func (s *Store) ofFunction(ctx context.Context, operation string, name faas.Name, do func(pgx.Tx, int64) error) error {
	err := s.update(ctx, func(tx pgx.Tx) error {
		var id int64
		if err := tx.QueryRow(ctx, holdID, name.String(), string(name.Namespace)).Scan(&id); err != nil {
			return notFound(err, noFunction(faas.Ref{Name: name}))
		}
		return do(tx, id)
	})
	return wrap(operation, err)
}
