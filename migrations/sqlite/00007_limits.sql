-- Limits of the calls of a version, and of a session, as its function or its caller asked
-- for; 0: none but the operator's.

-- +goose Up

ALTER TABLE meta_function_versions ADD COLUMN cpu_limit_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE meta_function_versions ADD COLUMN output_limit_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE meta_function_versions ADD COLUMN max_concurrency INTEGER NOT NULL DEFAULT 0;
ALTER TABLE meta_sessions ADD COLUMN cpu_limit_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE meta_sessions ADD COLUMN output_limit_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE meta_sessions ADD COLUMN max_concurrency INTEGER NOT NULL DEFAULT 0;

-- +goose Down

ALTER TABLE meta_sessions DROP COLUMN max_concurrency;
ALTER TABLE meta_sessions DROP COLUMN output_limit_bytes;
ALTER TABLE meta_sessions DROP COLUMN cpu_limit_ms;
ALTER TABLE meta_function_versions DROP COLUMN max_concurrency;
ALTER TABLE meta_function_versions DROP COLUMN output_limit_bytes;
ALTER TABLE meta_function_versions DROP COLUMN cpu_limit_ms;
