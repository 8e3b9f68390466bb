-- The files that pin the packages of a script: {"<file>": "<text>", …}, or NULL.

-- +goose Up

ALTER TABLE meta_scripts ADD COLUMN dependencies TEXT;

-- +goose Down

ALTER TABLE meta_scripts DROP COLUMN dependencies;
