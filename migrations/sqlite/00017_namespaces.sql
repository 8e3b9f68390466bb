-- A namespace is what a team has of an installation; '' is the default one, where all is that
-- was there before. Secrets have theirs in their owner: "<namespace><tab><user's id>".
-- Constraints of SQLite change with their tables only. Those that refer to them are made anew
-- too: dropping what they refer to would empty them.

-- +goose Up

CREATE TABLE new_functions (
    id           INTEGER PRIMARY KEY,
    namespace    TEXT    NOT NULL DEFAULT '',
    language     TEXT    NOT NULL,
    title        TEXT    NOT NULL,
    description  TEXT    NOT NULL DEFAULT '',
    tags         TEXT    NOT NULL DEFAULT '[]',
    is_active    INTEGER NOT NULL DEFAULT 1,
    version      INTEGER NOT NULL, -- the current one
    last_version INTEGER NOT NULL DEFAULT 0, -- the highest ever given
    created_by   TEXT    NOT NULL DEFAULT '',
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    UNIQUE (namespace, language, title)
) STRICT;

CREATE TABLE new_function_versions (
    function_id        INTEGER NOT NULL REFERENCES new_functions (id) ON DELETE CASCADE,
    version            INTEGER NOT NULL,
    script_digest      TEXT    NOT NULL REFERENCES meta_scripts (digest),
    schema_definition  TEXT,
    examples           TEXT,
    timeout_ms         INTEGER NOT NULL DEFAULT 0, -- 0: the default
    cache_ttl_ms       INTEGER NOT NULL DEFAULT 0, -- 0: results are not cached
    memory_limit_mb    INTEGER NOT NULL DEFAULT 0, -- 0: the default
    created_by         TEXT    NOT NULL DEFAULT '',
    created_at         INTEGER NOT NULL,
    description        TEXT    NOT NULL DEFAULT '',
    tags               TEXT    NOT NULL DEFAULT '[]',
    network            TEXT    NOT NULL DEFAULT '', -- '' or 'egress'
    cpu_limit_ms       INTEGER NOT NULL DEFAULT 0,
    output_limit_bytes INTEGER NOT NULL DEFAULT 0,
    max_concurrency    INTEGER NOT NULL DEFAULT 0,
    environment        TEXT, -- {"<name>": "<text>" or {"secret": "<name>"}, …}, or NULL
    PRIMARY KEY (function_id, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE new_function_aliases (
    function_id INTEGER NOT NULL,
    alias       TEXT    NOT NULL,
    version     INTEGER NOT NULL,
    weights     TEXT, -- {"<other version>": <per cent>, …}, or NULL
    created_by  TEXT    NOT NULL DEFAULT '',
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    environment TEXT, -- adds to that of the version
    PRIMARY KEY (function_id, alias),
    FOREIGN KEY (function_id, version) REFERENCES new_function_versions (function_id, version) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

INSERT INTO new_functions (id, language, title, description, tags, is_active, version, last_version, created_by, created_at, updated_at)
    SELECT id, language, title, description, tags, is_active, version, last_version, created_by, created_at, updated_at FROM meta_functions;
INSERT INTO new_function_versions (function_id, version, script_digest, schema_definition, examples, timeout_ms, cache_ttl_ms,
    memory_limit_mb, created_by, created_at, description, tags, network, cpu_limit_ms, output_limit_bytes, max_concurrency, environment)
    SELECT function_id, version, script_digest, schema_definition, examples, timeout_ms, cache_ttl_ms,
    memory_limit_mb, created_by, created_at, description, tags, network, cpu_limit_ms, output_limit_bytes, max_concurrency, environment
    FROM meta_function_versions;
INSERT INTO new_function_aliases (function_id, alias, version, weights, created_by, created_at, updated_at, environment)
    SELECT function_id, alias, version, weights, created_by, created_at, updated_at, environment FROM meta_function_aliases;

DROP TABLE meta_function_aliases;
DROP TABLE meta_function_versions;
DROP TABLE meta_functions;
ALTER TABLE new_functions RENAME TO meta_functions;
ALTER TABLE new_function_versions RENAME TO meta_function_versions;
ALTER TABLE new_function_aliases RENAME TO meta_function_aliases;
CREATE INDEX meta_functions_created ON meta_functions (created_at, namespace, language, created_by, is_active);
CREATE INDEX meta_function_versions_script ON meta_function_versions (script_digest);

ALTER TABLE meta_sessions ADD COLUMN namespace TEXT NOT NULL DEFAULT '';
DROP INDEX meta_sessions_dynamic;
CREATE INDEX meta_sessions_dynamic ON meta_sessions (created_at, expires_at, status, namespace, language, user_id)
    WHERE function_version = 0;

CREATE TABLE new_users (
    namespace             TEXT    NOT NULL DEFAULT '',
    user_id               TEXT    NOT NULL,
    rate_limit_per_minute INTEGER NOT NULL DEFAULT 100,
    allowed_languages     TEXT, -- JSON list; NULL: all
    role                  TEXT    NOT NULL DEFAULT 'user',
    created_at            INTEGER NOT NULL,
    updated_at            INTEGER NOT NULL,
    PRIMARY KEY (namespace, user_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE new_api_keys (
    number       INTEGER PRIMARY KEY, -- in the order in which they were made
    id           TEXT    NOT NULL UNIQUE,
    api_key_hash TEXT    NOT NULL UNIQUE, -- SHA-256 of the secret, in hex
    namespace    TEXT    NOT NULL DEFAULT '',
    user_id      TEXT    NOT NULL,
    name         TEXT    NOT NULL,
    scopes       TEXT    NOT NULL, -- separated by spaces
    languages    TEXT    NOT NULL DEFAULT '[]', -- JSON list; []: all
    created_at   INTEGER NOT NULL,
    created_by   TEXT    NOT NULL DEFAULT '',
    expires_at   INTEGER, -- NULL: never
    last_used_at INTEGER, -- NULL: never
    revoked_at   INTEGER, -- NULL: it was not
    FOREIGN KEY (namespace, user_id) REFERENCES new_users (namespace, user_id)
) STRICT;

INSERT INTO new_users (user_id, rate_limit_per_minute, allowed_languages, role, created_at, updated_at)
    SELECT user_id, rate_limit_per_minute, allowed_languages, role, created_at, updated_at FROM meta_users;
INSERT INTO new_api_keys (number, id, api_key_hash, user_id, name, scopes, languages, created_at, created_by, expires_at, last_used_at, revoked_at)
    SELECT number, id, api_key_hash, user_id, name, scopes, languages, created_at, created_by, expires_at, last_used_at, revoked_at FROM meta_api_keys;
DROP TABLE meta_api_keys;
DROP TABLE meta_users;
ALTER TABLE new_users RENAME TO meta_users;
ALTER TABLE new_api_keys RENAME TO meta_api_keys;
CREATE INDEX meta_api_keys_user ON meta_api_keys (namespace, user_id);

DROP VIEW request_logs;

CREATE VIEW request_logs AS SELECT
    id,
    line ->> 0 AS request_id,
    line ->> 1 AS operation,
    line ->> 2 AS session_id,
    line ->> 3 AS language_title,
    line ->> 4 AS method,
    line ->> 5 AS path,
    line ->> 6 AS status_code,
    line ->> 7 AS duration_us,
    line ->> 8 AS started_at,
    line ->> 9 AS client_ip,
    line ->> 10 AS user_id,
    line ->> 11 AS bytes_in,
    line ->> 12 AS bytes_out,
    line ->> 13 AS cached,
    line ->> 14 AS error_details,
    (SELECT request_headers FROM request_payloads p WHERE p.request_id = line ->> 0 AND p.started_at = line ->> 8) AS request_headers,
    (SELECT request_payload FROM request_payloads p WHERE p.request_id = line ->> 0 AND p.started_at = line ->> 8) AS request_payload,
    (SELECT response_payload FROM request_payloads p WHERE p.request_id = line ->> 0 AND p.started_at = line ->> 8) AS response_payload,
    (SELECT runtime_metrics FROM request_payloads p WHERE p.request_id = line ->> 0 AND p.started_at = line ->> 8) AS runtime_metrics,
    line ->> 15 AS namespace -- NULL: the default one
FROM request_lines;

-- Functions of one name in two namespaces are two.
DROP VIEW analytics_function_performance;
DROP VIEW analytics_daily_usage_stats;
DROP VIEW analytics_requests;

CREATE VIEW analytics_requests AS SELECT
    coalesce(language_title, (SELECT language || '-' || title FROM meta_sessions s WHERE s.id = session_id)) AS language_title,
    request_id, operation, status_code, duration_us, started_at, user_id, bytes_in, bytes_out, cached, error_details, namespace
FROM request_logs;

CREATE VIEW analytics_daily_usage_stats AS SELECT
    date(started_at / 1000000, 'unixepoch') AS day, language_title, operation,
    count(*) AS requests,
    sum(status_code >= 400) AS errors,
    sum(cached) AS cached,
    count(DISTINCT user_id) AS users,
    avg(duration_us) / 1000.0 AS avg_duration_ms,
    sum(bytes_in) AS bytes_in, sum(bytes_out) AS bytes_out,
    namespace
FROM analytics_requests GROUP BY 1, 2, 3, namespace;

CREATE VIEW analytics_function_performance AS
WITH calls AS (
    SELECT language_title, namespace, status_code, cached, duration_us,
        row_number() OVER (PARTITION BY language_title, namespace ORDER BY duration_us) AS place,
        count(*) OVER (PARTITION BY language_title, namespace) AS calls
    FROM analytics_requests
    WHERE started_at > (unixepoch() - 7 * 86400) * 1000000 AND language_title IS NOT NULL
)
SELECT language_title,
    count(*) AS calls,
    sum(status_code >= 400) AS errors,
    sum(cached) AS cached,
    avg(duration_us) / 1000.0 AS avg_duration_ms,
    min(iif(place >= 0.5 * calls, duration_us, NULL)) / 1000.0 AS p50_duration_ms,
    min(iif(place >= 0.95 * calls, duration_us, NULL)) / 1000.0 AS p95_duration_ms,
    min(iif(place >= 0.99 * calls, duration_us, NULL)) / 1000.0 AS p99_duration_ms,
    max(duration_us) / 1000.0 AS max_duration_ms,
    namespace
FROM calls GROUP BY language_title, namespace;

-- +goose Down

-- Without namespaces all could see what was in one: it goes.
DELETE FROM meta_api_keys WHERE namespace <> '';
DELETE FROM meta_secrets WHERE instr(owner, char(9)) > 0;
DELETE FROM meta_sessions WHERE namespace <> '';
DELETE FROM meta_functions WHERE namespace <> ''; -- with their versions and aliases
DELETE FROM meta_scripts WHERE NOT EXISTS (SELECT 1 FROM meta_sessions WHERE script_digest = digest)
    AND NOT EXISTS (SELECT 1 FROM meta_function_versions WHERE script_digest = digest);

DROP VIEW request_logs;

CREATE VIEW request_logs AS SELECT
    id,
    line ->> 0 AS request_id,
    line ->> 1 AS operation,
    line ->> 2 AS session_id,
    line ->> 3 AS language_title,
    line ->> 4 AS method,
    line ->> 5 AS path,
    line ->> 6 AS status_code,
    line ->> 7 AS duration_us,
    line ->> 8 AS started_at,
    line ->> 9 AS client_ip,
    line ->> 10 AS user_id,
    line ->> 11 AS bytes_in,
    line ->> 12 AS bytes_out,
    line ->> 13 AS cached,
    line ->> 14 AS error_details,
    (SELECT request_headers FROM request_payloads p WHERE p.request_id = line ->> 0 AND p.started_at = line ->> 8) AS request_headers,
    (SELECT request_payload FROM request_payloads p WHERE p.request_id = line ->> 0 AND p.started_at = line ->> 8) AS request_payload,
    (SELECT response_payload FROM request_payloads p WHERE p.request_id = line ->> 0 AND p.started_at = line ->> 8) AS response_payload,
    (SELECT runtime_metrics FROM request_payloads p WHERE p.request_id = line ->> 0 AND p.started_at = line ->> 8) AS runtime_metrics
FROM request_lines;

DROP VIEW analytics_function_performance;
DROP VIEW analytics_daily_usage_stats;
DROP VIEW analytics_requests;

CREATE VIEW analytics_requests AS SELECT
    coalesce(language_title, (SELECT language || '-' || title FROM meta_sessions s WHERE s.id = session_id)) AS language_title,
    request_id, operation, status_code, duration_us, started_at, user_id, bytes_in, bytes_out, cached, error_details
FROM request_logs;

CREATE VIEW analytics_daily_usage_stats AS SELECT
    date(started_at / 1000000, 'unixepoch') AS day, language_title, operation,
    count(*) AS requests,
    sum(status_code >= 400) AS errors,
    sum(cached) AS cached,
    count(DISTINCT user_id) AS users,
    avg(duration_us) / 1000.0 AS avg_duration_ms,
    sum(bytes_in) AS bytes_in, sum(bytes_out) AS bytes_out
FROM analytics_requests GROUP BY 1, 2, 3;

CREATE VIEW analytics_function_performance AS
WITH calls AS (
    SELECT language_title, status_code, cached, duration_us,
        row_number() OVER (PARTITION BY language_title ORDER BY duration_us) AS place,
        count(*) OVER (PARTITION BY language_title) AS calls
    FROM analytics_requests
    WHERE started_at > (unixepoch() - 7 * 86400) * 1000000 AND language_title IS NOT NULL
)
SELECT language_title,
    count(*) AS calls,
    sum(status_code >= 400) AS errors,
    sum(cached) AS cached,
    avg(duration_us) / 1000.0 AS avg_duration_ms,
    min(iif(place >= 0.5 * calls, duration_us, NULL)) / 1000.0 AS p50_duration_ms,
    min(iif(place >= 0.95 * calls, duration_us, NULL)) / 1000.0 AS p95_duration_ms,
    min(iif(place >= 0.99 * calls, duration_us, NULL)) / 1000.0 AS p99_duration_ms,
    max(duration_us) / 1000.0 AS max_duration_ms
FROM calls GROUP BY language_title;

CREATE TABLE old_users (
    user_id               TEXT    PRIMARY KEY,
    rate_limit_per_minute INTEGER NOT NULL DEFAULT 100,
    allowed_languages     TEXT, -- JSON list; NULL: all
    role                  TEXT    NOT NULL DEFAULT 'user',
    created_at            INTEGER NOT NULL,
    updated_at            INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE old_api_keys (
    number       INTEGER PRIMARY KEY,
    id           TEXT    NOT NULL UNIQUE,
    api_key_hash TEXT    NOT NULL UNIQUE,
    user_id      TEXT    NOT NULL REFERENCES old_users (user_id),
    name         TEXT    NOT NULL,
    scopes       TEXT    NOT NULL,
    languages    TEXT    NOT NULL DEFAULT '[]',
    created_at   INTEGER NOT NULL,
    created_by   TEXT    NOT NULL DEFAULT '',
    expires_at   INTEGER,
    last_used_at INTEGER,
    revoked_at   INTEGER
) STRICT;

INSERT INTO old_users SELECT user_id, rate_limit_per_minute, allowed_languages, role, created_at, updated_at FROM meta_users WHERE namespace = '';
INSERT INTO old_api_keys SELECT number, id, api_key_hash, user_id, name, scopes, languages, created_at, created_by, expires_at, last_used_at, revoked_at
    FROM meta_api_keys;
DROP TABLE meta_api_keys;
DROP TABLE meta_users;
ALTER TABLE old_users RENAME TO meta_users;
ALTER TABLE old_api_keys RENAME TO meta_api_keys;
CREATE INDEX meta_api_keys_user ON meta_api_keys (user_id);

DROP INDEX meta_sessions_dynamic;
ALTER TABLE meta_sessions DROP COLUMN namespace;
CREATE INDEX meta_sessions_dynamic ON meta_sessions (created_at, expires_at, status, language, user_id)
    WHERE function_version = 0;

-- What is left is unique without its namespace.
DROP INDEX meta_functions_created;
DROP INDEX meta_function_versions_script;

CREATE TABLE old_functions (
    id           INTEGER PRIMARY KEY,
    language     TEXT    NOT NULL,
    title        TEXT    NOT NULL,
    description  TEXT    NOT NULL DEFAULT '',
    tags         TEXT    NOT NULL DEFAULT '[]',
    is_active    INTEGER NOT NULL DEFAULT 1,
    version      INTEGER NOT NULL,
    created_by   TEXT    NOT NULL DEFAULT '',
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    last_version INTEGER NOT NULL DEFAULT 0,
    UNIQUE (language, title)
) STRICT;

CREATE TABLE old_function_versions (
    function_id        INTEGER NOT NULL REFERENCES old_functions (id) ON DELETE CASCADE,
    version            INTEGER NOT NULL,
    script_digest      TEXT    NOT NULL REFERENCES meta_scripts (digest),
    schema_definition  TEXT,
    examples           TEXT,
    timeout_ms         INTEGER NOT NULL DEFAULT 0,
    cache_ttl_ms       INTEGER NOT NULL DEFAULT 0,
    memory_limit_mb    INTEGER NOT NULL DEFAULT 0,
    created_by         TEXT    NOT NULL DEFAULT '',
    created_at         INTEGER NOT NULL,
    description        TEXT    NOT NULL DEFAULT '',
    tags               TEXT    NOT NULL DEFAULT '[]',
    network            TEXT    NOT NULL DEFAULT '',
    cpu_limit_ms       INTEGER NOT NULL DEFAULT 0,
    output_limit_bytes INTEGER NOT NULL DEFAULT 0,
    max_concurrency    INTEGER NOT NULL DEFAULT 0,
    environment        TEXT,
    PRIMARY KEY (function_id, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE old_function_aliases (
    function_id INTEGER NOT NULL,
    alias       TEXT    NOT NULL,
    version     INTEGER NOT NULL,
    weights     TEXT,
    created_by  TEXT    NOT NULL DEFAULT '',
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    environment TEXT,
    PRIMARY KEY (function_id, alias),
    FOREIGN KEY (function_id, version) REFERENCES old_function_versions (function_id, version) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

INSERT INTO old_functions SELECT id, language, title, description, tags, is_active, version, created_by, created_at, updated_at, last_version FROM meta_functions;
INSERT INTO old_function_versions SELECT function_id, version, script_digest, schema_definition, examples, timeout_ms, cache_ttl_ms,
    memory_limit_mb, created_by, created_at, description, tags, network, cpu_limit_ms, output_limit_bytes, max_concurrency, environment
    FROM meta_function_versions;
INSERT INTO old_function_aliases SELECT function_id, alias, version, weights, created_by, created_at, updated_at, environment FROM meta_function_aliases;
DROP TABLE meta_function_aliases;
DROP TABLE meta_function_versions;
DROP TABLE meta_functions;
ALTER TABLE old_functions RENAME TO meta_functions;
ALTER TABLE old_function_versions RENAME TO meta_function_versions;
ALTER TABLE old_function_aliases RENAME TO meta_function_aliases;
CREATE INDEX meta_functions_created ON meta_functions (created_at, language, created_by, is_active);
CREATE INDEX meta_function_versions_script ON meta_function_versions (script_digest);
