-- How many calls a minute a version has, and a session of it, of all callers together; 0: any
-- number.

-- +goose Up

ALTER TABLE meta_function_versions ADD COLUMN rate_per_minute INTEGER NOT NULL DEFAULT 0;
ALTER TABLE meta_sessions ADD COLUMN rate_per_minute INTEGER NOT NULL DEFAULT 0;

-- +goose Down

ALTER TABLE meta_sessions DROP COLUMN rate_per_minute;
ALTER TABLE meta_function_versions DROP COLUMN rate_per_minute;
