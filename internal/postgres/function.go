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
	// A name that was deleted is free again; its numbers of versions go on.
	createFunction = `INSERT INTO meta.functions AS f (language, title, description, tags, version, last_version, created_by, created_at, updated_at, namespace)
		VALUES ($1, $2, $3, $4, 1, 1, $5, $6, $6, $7)
		ON CONFLICT (namespace, language_title) DO UPDATE SET description = excluded.description, tags = excluded.tags, is_active = true,
			version = f.last_version + 1, last_version = f.last_version + 1, created_by = excluded.created_by,
			created_at = excluded.created_at, updated_at = excluded.updated_at
			WHERE NOT f.is_active
		RETURNING id, version, created_by, created_at, updated_at`

	bumpFunction = `UPDATE meta.functions SET description = $2, tags = $3, version = last_version + 1,
		last_version = last_version + 1, updated_at = $4 WHERE language_title = $1 AND namespace = $5 AND is_active
		RETURNING id, version, created_by, created_at, updated_at`

	insertVersion = `INSERT INTO meta.function_versions (function_id, version, script_digest, schema_definition, examples,
		description, tags, timeout_ms, cache_ttl_ms, memory_limit_mb, network,
		cpu_limit_ms, output_limit_bytes, max_concurrency, rate_per_minute, environment, created_by, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)`

	// Arguments: name, version or 0, alias or '', namespace.
	findFunction = `SELECT v.version, v.description, v.tags, f.created_by, f.created_at, f.updated_at, v.schema_definition,
		v.examples, v.timeout_ms, v.cache_ttl_ms, v.memory_limit_mb, v.network,
		v.cpu_limit_ms, v.output_limit_bytes, v.max_concurrency, v.rate_per_minute, v.environment, a.weights::text, a.environment,
		s.digest, s.source, s.compile_options, s.dependencies
		FROM meta.functions f
		LEFT JOIN meta.function_aliases a ON a.function_id = f.id AND a.alias = $3
		JOIN meta.function_versions v ON v.function_id = f.id
			AND v.version = CASE WHEN $3 <> '' THEN a.version WHEN $2 > 0 THEN $2 ELSE f.version END
		JOIN meta.scripts s ON s.digest = v.script_digest
		WHERE f.language_title = $1 AND f.namespace = $4 AND f.is_active`

	everRegistered = `SELECT EXISTS (SELECT 1 FROM meta.functions WHERE language_title = $1 AND namespace = $2)`

	retireFunction = `UPDATE meta.functions SET is_active = false WHERE language_title = $1 AND namespace = $2 AND is_active RETURNING id`
	deleteVersions = `DELETE FROM meta.function_versions WHERE function_id = $1 RETURNING script_digest`
)

// CreateFunction registers a function under a name that is free and returns it as
// stored: version and times are the store's to give. CONFLICT: the name is taken.
func (s *Store) CreateFunction(ctx context.Context, by faas.Actor, f faas.Function) (faas.Function, error) {
	now := time.Now()
	f, err := s.putFunction(ctx, change{by, faas.FunctionRegister}, f, func(tx pgx.Tx, tags []string) pgx.Row {
		return tx.QueryRow(ctx, createFunction, string(f.Name.Language), f.Name.Title, f.Description, tags, f.UserID, now, string(f.Name.Namespace))
	})
	if errors.Is(err, pgx.ErrNoRows) {
		err = &faas.Error{Code: faas.Conflict, Message: fmt.Sprintf("a function is registered as %s already: PUT makes a new version of it", f.Name)}
	}
	return f, wrap(fmt.Sprintf("create function %q", f.Name), err)
}

// AddVersion adds a version to a function, makes it the current one and returns it
// as stored. Its UserID is who adds it; who registered the function stays.
// NOT_FOUND: there is no function of that name.
func (s *Store) AddVersion(ctx context.Context, by faas.Actor, f faas.Function) (faas.Function, error) {
	now := time.Now()
	f, err := s.putFunction(ctx, change{by, faas.VersionAdd}, f, func(tx pgx.Tx, tags []string) pgx.Row {
		return tx.QueryRow(ctx, bumpFunction, f.Name.String(), f.Description, tags, now, string(f.Name.Namespace))
	})
	return f, wrap(fmt.Sprintf("add a version to function %q", f.Name), notFound(err, noFunction(faas.Ref{Name: f.Name})))
}

func noFunction(ref faas.Ref) *faas.Error {
	return &faas.Error{Code: faas.NotFound, Message: fmt.Sprintf("no function is registered as %s", ref)}
}

// change is by whom a function is changed, and how.
type change struct {
	by     faas.Actor
	action faas.Action
}

// putFunction stores the version whose row of meta.functions put has made.
func (s *Store) putFunction(ctx context.Context, c change, f faas.Function, put func(pgx.Tx, []string) pgx.Row) (faas.Function, error) {
	addedBy := f.UserID
	err := s.update(ctx, func(tx pgx.Tx) error {
		tags := append([]string{}, f.Tags...) // {} for nil
		var id int64
		if err := put(tx, tags).Scan(&id, &f.Version, &f.UserID, &f.CreatedAt, &f.UpdatedAt); err != nil {
			return err
		}
		f.CreatedAt, f.UpdatedAt = f.CreatedAt.UTC(), f.UpdatedAt.UTC()
		if err := putScript(ctx, tx, f.Script); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, insertVersion, id, f.Version, string(f.Script.Digest), document(f.Schema), document(f.Examples),
			f.Description, tags, f.Timeout.Milliseconds(), f.CacheTTL.Milliseconds(), f.MemoryMB, string(f.Network),
			f.Limits.CPU.Milliseconds(), f.Limits.Output, f.Limits.Concurrency, f.Limits.Rate, document(f.Environment.JSON()), addedBy, f.UpdatedAt)
		if err != nil {
			return err
		}
		return audit(ctx, tx, c.by, faas.AuditVersion(c.action, &f))
	})
	return f, err
}

// FindFunction finds a version of a registered function, code included: the one
// that the reference names, else the current one. By an alias it is the version
// that the alias stands for, with the alias' weights.
func (s *Store) FindFunction(ctx context.Context, ref faas.Ref) (faas.Function, error) {
	f := faas.Function{Name: ref.Name, Script: faas.Script{Language: ref.Name.Language}}
	var (
		weights, source     []byte
		own, alias          []byte // environments
		timeout, cache, cpu int64
	)
	row := s.pool.QueryRow(ctx, findFunction, ref.Name.String(), ref.Version, ref.Alias, string(ref.Name.Namespace))
	err := row.Scan(&f.Version, &f.Description, &f.Tags, &f.UserID, &f.CreatedAt, &f.UpdatedAt, (*[]byte)(&f.Schema),
		(*[]byte)(&f.Examples), &timeout, &cache, &f.MemoryMB, &f.Network,
		&cpu, &f.Limits.Output, &f.Limits.Concurrency, &f.Limits.Rate, &own, &weights, &alias,
		&f.Script.Digest, &source, (*[]byte)(&f.Script.CompileOptions), (*[]byte)(&f.Script.Dependencies))
	if err == nil && weights != nil {
		err = json.Unmarshal(weights, &f.Weights)
	}
	if err == nil {
		err = setEnvironments(&f, own, alias)
	}
	if err != nil {
		return faas.Function{}, wrap(fmt.Sprintf("find function %q", ref), notFound(err, noFunction(ref)))
	}
	f.Script.Source = string(source)
	f.Timeout, f.CacheTTL, f.Limits.CPU = fromMillis(timeout), fromMillis(cache), fromMillis(cpu)
	f.CreatedAt, f.UpdatedAt = f.CreatedAt.UTC(), f.UpdatedAt.UTC()
	return f, nil
}

func setEnvironments(f *faas.Function, own, alias []byte) (err error) {
	if f.Environment, err = faas.ParseEnvironment(own); err == nil {
		f.AliasEnvironment, err = faas.ParseEnvironment(alias)
	}
	return err
}

// EverRegistered tells whether a function of that name is registered, or was.
func (s *Store) EverRegistered(ctx context.Context, name faas.Name) (bool, error) {
	var known bool
	err := s.pool.QueryRow(ctx, everRegistered, name.String(), string(name.Namespace)).Scan(&known)
	return known, wrap(fmt.Sprintf("look for function %q", name), err)
}

// DeleteFunction deletes a function with its versions and aliases. Its scripts stay
// as long as sessions run them. NOT_FOUND: there is no function of that name.
func (s *Store) DeleteFunction(ctx context.Context, by faas.Actor, name faas.Name) error {
	err := s.update(ctx, func(tx pgx.Tx) error {
		var id int64
		if err := tx.QueryRow(ctx, retireFunction, name.String(), string(name.Namespace)).Scan(&id); err != nil {
			return notFound(err, noFunction(faas.Ref{Name: name}))
		}
		digests, err := collect[string](ctx, tx, deleteVersions, id) // and with them the aliases
		if err != nil {
			return err
		}
		if err := deleteOrphans(ctx, tx, digests); err != nil {
			return err
		}
		return audit(ctx, tx, by, faas.AuditFunction(name, len(digests)))
	})
	return wrap(fmt.Sprintf("delete function %q", name), err)
}
