package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"envoke/internal/faas"
)

const (
	// A name that was deleted is free again; its numbers of versions go on.
	createFunction = `INSERT INTO meta_functions (language, title, description, tags, version, last_version, created_by, created_at, updated_at, namespace)
		VALUES (?1, ?2, ?3, ?4, 1, 1, ?5, ?6, ?6, ?7)
		ON CONFLICT (namespace, language, title) DO UPDATE SET description = excluded.description, tags = excluded.tags, is_active = 1,
			version = last_version + 1, last_version = last_version + 1, created_by = excluded.created_by,
			created_at = excluded.created_at, updated_at = excluded.updated_at
			WHERE NOT is_active
		RETURNING id, version, created_by, created_at, updated_at`

	bumpFunction = `UPDATE meta_functions SET description = ?3, tags = ?4, version = last_version + 1,
		last_version = last_version + 1, updated_at = ?5 WHERE language = ?1 AND title = ?2 AND namespace = ?6 AND is_active
		RETURNING id, version, created_by, created_at, updated_at`

	insertVersion = `INSERT INTO meta_function_versions (function_id, version, script_digest, schema_definition, examples,
		description, tags, timeout_ms, cache_ttl_ms, memory_limit_mb, network,
		cpu_limit_ms, output_limit_bytes, max_concurrency, rate_per_minute, environment, created_by, created_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`

	// Arguments: language, title, version or 0, alias or '', namespace.
	findFunction = `SELECT v.version, v.description, v.tags, f.created_by, f.created_at, f.updated_at, v.schema_definition,
		v.examples, v.timeout_ms, v.cache_ttl_ms, v.memory_limit_mb, v.network,
		v.cpu_limit_ms, v.output_limit_bytes, v.max_concurrency, v.rate_per_minute, v.environment, a.weights, a.environment,
		s.digest, s.source, s.compile_options, s.dependencies
		FROM meta_functions f
		LEFT JOIN meta_function_aliases a ON a.function_id = f.id AND a.alias = ?4
		JOIN meta_function_versions v ON v.function_id = f.id
			AND v.version = CASE WHEN ?4 <> '' THEN a.version WHEN ?3 > 0 THEN ?3 ELSE f.version END
		JOIN meta_scripts s ON s.digest = v.script_digest
		WHERE f.language = ?1 AND f.title = ?2 AND f.namespace = ?5 AND f.is_active`

	retireFunction = `UPDATE meta_functions SET is_active = 0 WHERE language = ? AND title = ? AND namespace = ? AND is_active RETURNING id`
	deleteVersions = `DELETE FROM meta_function_versions WHERE function_id = ? RETURNING script_digest`
)

// CreateFunction registers a function under a name that is free and returns it as
// stored: version and times are the store's to give. CONFLICT: the name is taken.
func (s *Store) CreateFunction(ctx context.Context, by faas.Actor, f faas.Function) (faas.Function, error) {
	now := time.Now()
	f, err := s.putFunction(ctx, change{by, faas.FunctionRegister}, f, func(ctx context.Context, tx *sql.Tx, tags string) *sql.Row {
		return tx.QueryRowContext(ctx, createFunction, string(f.Name.Language), f.Name.Title, f.Description, tags, f.UserID, micros(now), string(f.Name.Namespace))
	})
	if errors.Is(err, sql.ErrNoRows) {
		err = &faas.Error{Code: faas.Conflict, Message: fmt.Sprintf("a function is registered as %s already: PUT makes a new version of it", f.Name)}
	}
	return f, wrap(fmt.Sprintf("create function %q", f.Name), err)
}

// AddVersion adds a version to a function, makes it the current one and returns it
// as stored. Its UserID is who adds it; who registered the function stays.
// NOT_FOUND: there is no function of that name.
func (s *Store) AddVersion(ctx context.Context, by faas.Actor, f faas.Function) (faas.Function, error) {
	now := time.Now()
	f, err := s.putFunction(ctx, change{by, faas.VersionAdd}, f, func(ctx context.Context, tx *sql.Tx, tags string) *sql.Row {
		return tx.QueryRowContext(ctx, bumpFunction, string(f.Name.Language), f.Name.Title, f.Description, tags, micros(now), string(f.Name.Namespace))
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

// putFunction stores the version whose row of meta_functions put has made.
func (s *Store) putFunction(ctx context.Context, c change, f faas.Function, put func(context.Context, *sql.Tx, string) *sql.Row) (faas.Function, error) {
	addedBy := f.UserID
	err := s.update(ctx, func(tx *sql.Tx) error {
		tags, err := json.Marshal(append([]string{}, f.Tags...)) // [] for nil
		if err != nil {
			return err
		}
		var id, created, updated int64
		if err := put(ctx, tx, string(tags)).Scan(&id, &f.Version, &f.UserID, &created, &updated); err != nil {
			return err
		}
		f.CreatedAt, f.UpdatedAt = fromMicros(created), fromMicros(updated)
		if err := s.putScript(ctx, tx, f.Script); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, insertVersion, id, f.Version, string(f.Script.Digest), document(f.Schema), document(f.Examples),
			f.Description, string(tags), f.Timeout.Milliseconds(), f.CacheTTL.Milliseconds(), f.MemoryMB, string(f.Network),
			f.Limits.CPU.Milliseconds(), f.Limits.Output, f.Limits.Concurrency, f.Limits.Rate, document(f.Environment.JSON()), addedBy, updated)
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
		tags, weights                         []byte
		own, alias                            []byte // environments
		timeout, cache, cpu, created, updated int64
	)
	row := s.findFunction.QueryRowContext(ctx, string(ref.Name.Language), ref.Name.Title, ref.Version, ref.Alias, string(ref.Name.Namespace))
	err := row.Scan(&f.Version, &f.Description, &tags, &f.UserID, &created, &updated, (*[]byte)(&f.Schema),
		(*[]byte)(&f.Examples), &timeout, &cache, &f.MemoryMB, &f.Network,
		&cpu, &f.Limits.Output, &f.Limits.Concurrency, &f.Limits.Rate, &own, &weights, &alias,
		&f.Script.Digest, &f.Script.Source, (*[]byte)(&f.Script.CompileOptions), (*[]byte)(&f.Script.Dependencies))
	if err == nil {
		err = json.Unmarshal(tags, &f.Tags)
	}
	if err == nil && weights != nil {
		err = json.Unmarshal(weights, &f.Weights)
	}
	if err == nil {
		err = setEnvironments(&f, own, alias)
	}
	if err != nil {
		return faas.Function{}, wrap(fmt.Sprintf("find function %q", ref), notFound(err, noFunction(ref)))
	}
	f.Timeout, f.CacheTTL, f.Limits.CPU = fromMillis(timeout), fromMillis(cache), fromMillis(cpu)
	f.CreatedAt, f.UpdatedAt = fromMicros(created), fromMicros(updated)
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
	err := s.read.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM meta_functions WHERE language = ? AND title = ? AND namespace = ?)",
		string(name.Language), name.Title, string(name.Namespace)).Scan(&known)
	return known, wrap(fmt.Sprintf("look for function %q", name), err)
}

// DeleteFunction deletes a function with its versions and aliases. Its scripts stay
// as long as sessions run them. NOT_FOUND: there is no function of that name.
func (s *Store) DeleteFunction(ctx context.Context, by faas.Actor, name faas.Name) error {
	err := s.update(ctx, func(tx *sql.Tx) error {
		var id int64
		err := tx.QueryRowContext(ctx, retireFunction, string(name.Language), name.Title, string(name.Namespace)).Scan(&id)
		if err != nil {
			return notFound(err, noFunction(faas.Ref{Name: name}))
		}
		rows, err := tx.QueryContext(ctx, deleteVersions, id) // and with them the aliases
		if err != nil {
			return err
		}
		digests, err := collect(rows)
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
