-- The network of the worker that runs a version, and of one that runs a session, as its
-- function or its caller asked for.

-- +goose Up

ALTER TABLE meta_function_versions ADD COLUMN network TEXT NOT NULL DEFAULT ''; -- '' or 'egress'
ALTER TABLE meta_sessions ADD COLUMN network TEXT NOT NULL DEFAULT '';

-- +goose Down

ALTER TABLE meta_sessions DROP COLUMN network;
ALTER TABLE meta_function_versions DROP COLUMN network;
