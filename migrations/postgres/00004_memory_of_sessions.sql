-- The limit of memory of the worker that runs a session, as its function or its caller
-- asked for.

-- +goose Up

ALTER TABLE meta.sessions ADD COLUMN memory_limit_mb integer NOT NULL DEFAULT 0; -- 0: the operator's
UPDATE meta.sessions s SET memory_limit_mb = v.memory_limit_mb
    FROM meta.functions f JOIN meta.function_versions v ON v.function_id = f.id
    WHERE f.language_title = s.language_title AND v.version = s.function_version AND s.function_version > 0;

-- +goose Down

ALTER TABLE meta.sessions DROP COLUMN memory_limit_mb;
