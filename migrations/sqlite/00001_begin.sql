-- SQLite has no schemas: meta_x here is meta.x in Postgres, under the same number.
-- Times are microseconds since 1970 in UTC; durations are milliseconds unless the
-- name says otherwise; JSON is text.

-- +goose Up

-- Secrets of the installation. 'session' authenticates session ids.
CREATE TABLE meta_keys (
    name       TEXT PRIMARY KEY,
    value      BLOB    NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

-- Code by its digest, shared by all that run it. Swept when nobody refers to it.
CREATE TABLE meta_scripts (
    digest          TEXT PRIMARY KEY, -- SHA-256 of language, source and options
    language        TEXT    NOT NULL,
    source          TEXT    NOT NULL,
    compile_options TEXT,
    created_at      INTEGER NOT NULL
) STRICT;

CREATE TABLE meta_functions (
    id          INTEGER PRIMARY KEY,
    language    TEXT    NOT NULL,
    title       TEXT    NOT NULL,
    description TEXT    NOT NULL DEFAULT '',
    tags        TEXT    NOT NULL DEFAULT '[]',
    is_active   INTEGER NOT NULL DEFAULT 1,
    version     INTEGER NOT NULL, -- the current one
    created_by  TEXT    NOT NULL DEFAULT '',
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    UNIQUE (language, title)
) STRICT;

-- Listings are newest first.
CREATE INDEX meta_functions_created ON meta_functions (created_at);

-- Versions are never changed once written.
CREATE TABLE meta_function_versions (
    function_id       INTEGER NOT NULL REFERENCES meta_functions (id) ON DELETE CASCADE,
    version           INTEGER NOT NULL,
    script_digest     TEXT    NOT NULL REFERENCES meta_scripts (digest),
    schema_definition TEXT,
    examples          TEXT,
    timeout_ms        INTEGER NOT NULL DEFAULT 0, -- 0: the default
    cache_ttl_ms      INTEGER NOT NULL DEFAULT 0, -- 0: results are not cached
    memory_limit_mb   INTEGER NOT NULL DEFAULT 0, -- 0: the default
    created_by        TEXT    NOT NULL DEFAULT '',
    created_at        INTEGER NOT NULL,
    PRIMARY KEY (function_id, version)
) STRICT, WITHOUT ROWID;

CREATE INDEX meta_function_versions_script ON meta_function_versions (script_digest);

CREATE TABLE meta_sessions (
    id               TEXT PRIMARY KEY,
    language         TEXT    NOT NULL,
    title            TEXT    NOT NULL,
    script_digest    TEXT    NOT NULL REFERENCES meta_scripts (digest),
    function_version INTEGER NOT NULL DEFAULT 0, -- 0: a script of its own
    owner            TEXT    NOT NULL,
    user_id          TEXT    NOT NULL DEFAULT '',
    context          TEXT,
    timeout_ms       INTEGER NOT NULL DEFAULT 0, -- 0: the default
    compile_status   TEXT    NOT NULL DEFAULT '',
    compile_error    TEXT,
    created_at       INTEGER NOT NULL,
    expires_at       INTEGER NOT NULL,
    last_executed_at INTEGER, -- NULL: never
    execution_count  INTEGER NOT NULL DEFAULT 0,
    status           TEXT    NOT NULL
) STRICT;

-- Each index is paid for by every initialize: one for the sweep, one for scripts
-- that nobody refers to, one for listings (new entries go to its end, so its width
-- is cheap, and counting needs no other page). The rest waits for who asks.
CREATE INDEX meta_sessions_expires ON meta_sessions (expires_at);
CREATE INDEX meta_sessions_script ON meta_sessions (script_digest);
CREATE INDEX meta_sessions_dynamic ON meta_sessions (created_at, expires_at, status, language, user_id)
    WHERE function_version = 0;

-- A row per request that Envoy answered. There is no index: rows arrive in order
-- of time, so the sweep takes the lowest ids, and nothing else reads in a hurry.
CREATE TABLE request_logs (
    id             INTEGER PRIMARY KEY,
    request_id     TEXT    NOT NULL,
    operation      TEXT    NOT NULL,
    session_id     TEXT,
    language_title TEXT,
    method         TEXT    NOT NULL,
    path           TEXT    NOT NULL,
    status_code    INTEGER NOT NULL,
    duration_us    INTEGER NOT NULL,
    started_at     INTEGER NOT NULL,
    client_ip      TEXT,
    user_id        TEXT,
    bytes_in       INTEGER NOT NULL,
    bytes_out      INTEGER NOT NULL,
    cached         INTEGER NOT NULL DEFAULT 0,
    error_details  TEXT
) STRICT;

-- How far each of Envoy's log files has been stored, by the file's name.
CREATE TABLE log_files (
    name        TEXT PRIMARY KEY,
    read_offset INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- +goose Down

DROP TABLE log_files;
DROP TABLE request_logs;
DROP TABLE meta_sessions;
DROP TABLE meta_function_versions;
DROP TABLE meta_functions;
DROP TABLE meta_scripts;
DROP TABLE meta_keys;
