-- The files that pin the packages of a script: {"<file>": "<text>", …}, or NULL.

-- +goose Up

ALTER TABLE meta.scripts ADD COLUMN dependencies text;

-- +goose Down

ALTER TABLE meta.scripts DROP COLUMN dependencies;
