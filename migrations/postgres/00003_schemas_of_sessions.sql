-- A session of a registered function keeps the schema of its version: the function
-- may be deleted before the session ends.

-- +goose Up

ALTER TABLE meta.sessions ADD COLUMN schema_definition text; -- NULL: any params
UPDATE meta.sessions s SET schema_definition = v.schema_definition
    FROM meta.functions f JOIN meta.function_versions v ON v.function_id = f.id
    WHERE f.language_title = s.language_title AND v.version = s.function_version AND s.function_version > 0;

-- +goose Down

ALTER TABLE meta.sessions DROP COLUMN schema_definition;
