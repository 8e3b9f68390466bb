-- Limits of the calls of a version, and of a session, as its function or its caller asked
-- for; 0: none but the operator's.

-- +goose Up

ALTER TABLE meta.function_versions ADD COLUMN cpu_limit_ms bigint NOT NULL DEFAULT 0;
ALTER TABLE meta.function_versions ADD COLUMN output_limit_bytes bigint NOT NULL DEFAULT 0;
ALTER TABLE meta.function_versions ADD COLUMN max_concurrency integer NOT NULL DEFAULT 0;
ALTER TABLE meta.sessions ADD COLUMN cpu_limit_ms bigint NOT NULL DEFAULT 0;
ALTER TABLE meta.sessions ADD COLUMN output_limit_bytes bigint NOT NULL DEFAULT 0;
ALTER TABLE meta.sessions ADD COLUMN max_concurrency integer NOT NULL DEFAULT 0;

-- +goose Down

ALTER TABLE meta.sessions DROP COLUMN max_concurrency;
ALTER TABLE meta.sessions DROP COLUMN output_limit_bytes;
ALTER TABLE meta.sessions DROP COLUMN cpu_limit_ms;
ALTER TABLE meta.function_versions DROP COLUMN max_concurrency;
ALTER TABLE meta.function_versions DROP COLUMN output_limit_bytes;
ALTER TABLE meta.function_versions DROP COLUMN cpu_limit_ms;
