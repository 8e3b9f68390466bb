-- A version is all that was posted, its description and tags too; meta_functions
-- has those of the current one, for listings. Numbers of versions are never used
-- again, not even after the function was deleted: its row stays, inactive.

-- +goose Up

ALTER TABLE meta_functions ADD COLUMN last_version INTEGER NOT NULL DEFAULT 0; -- the highest ever given
UPDATE meta_functions SET last_version = version;

ALTER TABLE meta_function_versions ADD COLUMN description TEXT NOT NULL DEFAULT '';
ALTER TABLE meta_function_versions ADD COLUMN tags TEXT NOT NULL DEFAULT '[]';
UPDATE meta_function_versions SET (description, tags) =
    (SELECT f.description, f.tags FROM meta_functions f WHERE f.id = function_id);

CREATE TABLE meta_function_aliases (
    function_id INTEGER NOT NULL,
    alias       TEXT    NOT NULL,
    version     INTEGER NOT NULL,
    weights     TEXT, -- {"<other version>": <per cent>, …}, or NULL
    created_by  TEXT    NOT NULL DEFAULT '',
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    PRIMARY KEY (function_id, alias),
    FOREIGN KEY (function_id, version) REFERENCES meta_function_versions (function_id, version) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

-- Listings count what they filter, from the index alone unless by tag.
DROP INDEX meta_functions_created;
CREATE INDEX meta_functions_created ON meta_functions (created_at, language, created_by, is_active);

-- +goose Down

DROP INDEX meta_functions_created;
CREATE INDEX meta_functions_created ON meta_functions (created_at);
DROP TABLE meta_function_aliases;
ALTER TABLE meta_function_versions DROP COLUMN tags;
ALTER TABLE meta_function_versions DROP COLUMN description;
ALTER TABLE meta_functions DROP COLUMN last_version;
