-- A version is all that was posted, its description and tags too; meta.functions
-- has those of the current one, for listings. Numbers of versions are never used
-- again, not even after the function was deleted: its row stays, inactive.

-- +goose Up

ALTER TABLE meta.functions ADD COLUMN last_version integer NOT NULL DEFAULT 0; -- the highest ever given
UPDATE meta.functions SET last_version = version;

ALTER TABLE meta.function_versions ADD COLUMN description text NOT NULL DEFAULT '';
ALTER TABLE meta.function_versions ADD COLUMN tags text[] NOT NULL DEFAULT '{}';
UPDATE meta.function_versions v SET description = f.description, tags = f.tags
    FROM meta.functions f WHERE f.id = v.function_id;

CREATE TABLE meta.function_aliases (
    function_id bigint      NOT NULL,
    alias       text        COLLATE "C" NOT NULL,
    version     integer     NOT NULL,
    weights     jsonb, -- {"<other version>": <per cent>, …}, or NULL
    created_by  text        NOT NULL DEFAULT '',
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    PRIMARY KEY (function_id, alias),
    FOREIGN KEY (function_id, version) REFERENCES meta.function_versions (function_id, version) ON DELETE CASCADE
);

CREATE INDEX function_aliases_version ON meta.function_aliases (function_id, version);

-- +goose StatementBegin
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'envoke_readonly') THEN
        GRANT SELECT ON meta.function_aliases TO envoke_readonly;
    END IF;
END
$$;
-- +goose StatementEnd

-- Listings count what they filter, from the index alone unless by tag or user.
DROP INDEX meta.functions_created;
CREATE INDEX functions_created ON meta.functions (created_at, language, is_active);

-- +goose Down

DROP INDEX meta.functions_created;
CREATE INDEX functions_created ON meta.functions (created_at);
DROP TABLE meta.function_aliases;
ALTER TABLE meta.function_versions DROP COLUMN tags;
ALTER TABLE meta.function_versions DROP COLUMN description;
ALTER TABLE meta.functions DROP COLUMN last_version;
