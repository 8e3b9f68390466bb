-- The limit of memory of the worker that runs a session, as its function or its caller
-- asked for.

-- +goose Up

ALTER TABLE meta_sessions ADD COLUMN memory_limit_mb INTEGER NOT NULL DEFAULT 0; -- 0: the operator's
UPDATE meta_sessions SET memory_limit_mb = coalesce(
    (SELECT v.memory_limit_mb FROM meta_functions f JOIN meta_function_versions v ON v.function_id = f.id
     WHERE f.language = meta_sessions.language AND f.title = meta_sessions.title AND v.version = function_version), 0)
    WHERE function_version > 0;

-- +goose Down

ALTER TABLE meta_sessions DROP COLUMN memory_limit_mb;
