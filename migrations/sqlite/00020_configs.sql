-- The routes that operators declare by the API: every version that was put lately, and which one
-- is to be served.

-- +goose Up

CREATE TABLE meta_configs (
    version    INTEGER PRIMARY KEY,
    document   TEXT    NOT NULL, -- YAML or JSON, as it was put
    bytes      INTEGER NOT NULL, -- of the document
    digest     TEXT    NOT NULL, -- of the document
    created_at INTEGER NOT NULL, -- microseconds since 1970
    created_by TEXT    NOT NULL  -- '': nobody in particular
) STRICT;

CREATE TABLE meta_config_current (
    one          INTEGER PRIMARY KEY DEFAULT 1 CHECK (one = 1),
    version      INTEGER NOT NULL, -- 0: none was put yet
    last_version INTEGER NOT NULL  -- that was ever put
) STRICT;

INSERT INTO meta_config_current (version, last_version) VALUES (0, 0);

-- +goose Down

DROP TABLE meta_config_current;
DROP TABLE meta_configs;
