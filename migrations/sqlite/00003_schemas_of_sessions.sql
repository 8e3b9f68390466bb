-- A session of a registered function keeps the schema of its version: the function
-- may be deleted before the session ends.

-- +goose Up

ALTER TABLE meta_sessions ADD COLUMN schema_definition TEXT; -- NULL: any params
UPDATE meta_sessions SET schema_definition =
    (SELECT v.schema_definition FROM meta_functions f JOIN meta_function_versions v ON v.function_id = f.id
     WHERE f.language = meta_sessions.language AND f.title = meta_sessions.title AND v.version = function_version)
    WHERE function_version > 0;

-- +goose Down

ALTER TABLE meta_sessions DROP COLUMN schema_definition;
