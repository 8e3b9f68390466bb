-- What functions find in their environment: texts, and secrets by their names. The values of
-- secrets are sealed: without the installation's key file nobody reads them.

-- +goose Up

ALTER TABLE meta_function_versions ADD COLUMN environment TEXT; -- {"<name>": "<text>" or {"secret": "<name>"}, …}, or NULL
ALTER TABLE meta_function_aliases ADD COLUMN environment TEXT;  -- adds to that of the version
ALTER TABLE meta_sessions ADD COLUMN environment TEXT;          -- of the function's version and alias when it was made

CREATE TABLE meta_secrets (
    owner      TEXT    NOT NULL, -- '': nobody's in particular
    name       TEXT    NOT NULL,
    key_id     TEXT    NOT NULL,
    sealed     BLOB    NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (owner, name)
) STRICT, WITHOUT ROWID;

-- +goose Down

DROP TABLE meta_secrets;
ALTER TABLE meta_sessions DROP COLUMN environment;
ALTER TABLE meta_function_aliases DROP COLUMN environment;
ALTER TABLE meta_function_versions DROP COLUMN environment;
