-- Who may call, and the keys by which they do: a user has several, so that one can be
-- replaced before it ends. Of a secret there is its hash alone.

-- +goose Up

CREATE TABLE meta_users (
    user_id               TEXT    PRIMARY KEY,
    rate_limit_per_minute INTEGER NOT NULL DEFAULT 100,
    allowed_languages     TEXT, -- JSON list; NULL: all
    role                  TEXT    NOT NULL DEFAULT 'user',
    created_at            INTEGER NOT NULL,
    updated_at            INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE meta_api_keys (
    number       INTEGER PRIMARY KEY, -- in the order in which they were made
    id           TEXT    NOT NULL UNIQUE,
    api_key_hash TEXT    NOT NULL UNIQUE, -- SHA-256 of the secret, in hex
    user_id      TEXT    NOT NULL REFERENCES meta_users (user_id),
    name         TEXT    NOT NULL,
    scopes       TEXT    NOT NULL, -- separated by spaces
    languages    TEXT    NOT NULL DEFAULT '[]', -- JSON list; []: all
    created_at   INTEGER NOT NULL,
    created_by   TEXT    NOT NULL DEFAULT '',
    expires_at   INTEGER, -- NULL: never
    last_used_at INTEGER, -- NULL: never
    revoked_at   INTEGER  -- NULL: it was not
) STRICT;

CREATE INDEX meta_api_keys_user ON meta_api_keys (user_id);

-- +goose Down

DROP TABLE meta_api_keys;
DROP TABLE meta_users;
