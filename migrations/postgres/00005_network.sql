-- The network of the worker that runs a version, and of one that runs a session, as its
-- function or its caller asked for.

-- +goose Up

ALTER TABLE meta.function_versions ADD COLUMN network text NOT NULL DEFAULT ''; -- '' or 'egress'
ALTER TABLE meta.sessions ADD COLUMN network text NOT NULL DEFAULT '';

-- +goose Down

ALTER TABLE meta.sessions DROP COLUMN network;
ALTER TABLE meta.function_versions DROP COLUMN network;
