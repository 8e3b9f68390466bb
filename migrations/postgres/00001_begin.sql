-- meta.x here is meta_x in SQLite, under the same number; public.request_logs and what is in
-- analytics have the names that dashboards know. JSON that callers posted is text, so that it
-- comes back as it was: jsonb changes it, and json reads all of it again.

-- +goose Up

CREATE SCHEMA meta;
CREATE SCHEMA analytics;

-- Secrets of the installation. 'session' authenticates session ids.
CREATE TABLE meta.keys (
    name       text        PRIMARY KEY,
    value      bytea       NOT NULL,
    created_at timestamptz NOT NULL
);

-- Who may call, for when callers are checked.
CREATE TABLE meta.users (
    user_id               text        PRIMARY KEY,
    api_key_hash          text        UNIQUE,
    rate_limit_per_minute integer     NOT NULL DEFAULT 100,
    allowed_languages     text[], -- NULL: all
    role                  text        NOT NULL DEFAULT 'user',
    created_at            timestamptz NOT NULL DEFAULT now(),
    updated_at            timestamptz NOT NULL DEFAULT now()
);

-- Code by its digest, shared by all that run it. Swept when nobody refers to it. It is bytes,
-- since a text of PostgreSQL cannot hold all that a program may: convert_from(source, 'UTF8').
CREATE TABLE meta.scripts (
    digest          text        COLLATE "C" PRIMARY KEY, -- SHA-256 of language, source and options
    language        text        NOT NULL,
    source          bytea       NOT NULL,
    compile_options text,
    created_at      timestamptz NOT NULL
);

CREATE TABLE meta.functions (
    id             bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    language       text        NOT NULL,
    title          text        NOT NULL,
    language_title text        COLLATE "C" NOT NULL UNIQUE GENERATED ALWAYS AS (language || '-' || title) STORED,
    description    text        NOT NULL DEFAULT '',
    tags           text[]      NOT NULL DEFAULT '{}',
    is_active      boolean     NOT NULL DEFAULT true,
    version        integer     NOT NULL, -- the current one
    created_by     text        NOT NULL DEFAULT '',
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL
);

-- Listings are newest first.
CREATE INDEX functions_created ON meta.functions (created_at);
CREATE INDEX functions_tags ON meta.functions USING gin (tags);

-- Versions are never changed once written.
CREATE TABLE meta.function_versions (
    function_id       bigint      NOT NULL REFERENCES meta.functions (id) ON DELETE CASCADE,
    version           integer     NOT NULL,
    script_digest     text        COLLATE "C" NOT NULL REFERENCES meta.scripts (digest),
    schema_definition text,
    examples          text,
    timeout_ms        bigint      NOT NULL DEFAULT 0, -- 0: the default
    cache_ttl_ms      bigint      NOT NULL DEFAULT 0, -- 0: results are not cached
    memory_limit_mb   integer     NOT NULL DEFAULT 0, -- 0: the default
    created_by        text        NOT NULL DEFAULT '',
    created_at        timestamptz NOT NULL,
    PRIMARY KEY (function_id, version)
);

CREATE INDEX function_versions_script ON meta.function_versions (script_digest);

CREATE TABLE meta.sessions (
    id               text        COLLATE "C" PRIMARY KEY,
    language         text        NOT NULL,
    title            text        NOT NULL,
    language_title   text        COLLATE "C" NOT NULL GENERATED ALWAYS AS (language || '-' || title) STORED,
    script_hash      text        COLLATE "C" NOT NULL REFERENCES meta.scripts (digest),
    function_version integer     NOT NULL DEFAULT 0, -- 0: a script of its own
    owner            text        NOT NULL,
    user_id          text        NOT NULL DEFAULT '',
    context          text,
    timeout_ms       bigint      NOT NULL DEFAULT 0, -- 0: the default
    compile_status   text        NOT NULL DEFAULT '',
    compile_error    text,
    created_at       timestamptz NOT NULL,
    expires_at       timestamptz NOT NULL,
    last_executed_at timestamptz, -- NULL: never
    execution_count  bigint      NOT NULL DEFAULT 0,
    status           text        NOT NULL,
    metadata         jsonb -- of whoever works with this database; ours is none of it
) WITH (fillfactor = 80); -- room for counts beside the row, so that they touch no index

CREATE INDEX sessions_expires ON meta.sessions (expires_at);
CREATE INDEX sessions_language_title ON meta.sessions (language_title);
CREATE INDEX sessions_user ON meta.sessions USING hash (user_id) WHERE user_id <> ''; -- of any length
CREATE INDEX sessions_status ON meta.sessions (status) WHERE status <> 'active';
CREATE INDEX sessions_script_hash ON meta.sessions (script_hash);
CREATE INDEX sessions_dynamic ON meta.sessions (created_at, id) WHERE function_version = 0;

-- A row per request that Envoy answered, in a table per month, so that old ones can be dropped
-- whole. What has no month of its own goes to the default one and is refused by none. Names
-- are those of the sessions where the caller gave none: a row outlives its session.
CREATE SEQUENCE public.request_logs_id;
CREATE TABLE public.request_logs (
    id               bigint           NOT NULL DEFAULT nextval('public.request_logs_id'),
    request_id       text             NOT NULL,
    operation        text             NOT NULL,
    session_id       text,
    language_title   text,
    timestamp        timestamptz      NOT NULL, -- when it began
    method           text             NOT NULL,
    path             text             NOT NULL,
    status_code      integer          NOT NULL,
    duration_ms      double precision NOT NULL, -- exact to the microsecond
    client_ip        text,
    user_id          text,
    bytes_in         bigint           NOT NULL,
    bytes_out        bigint           NOT NULL,
    cached           boolean          NOT NULL DEFAULT false,
    error_details    text,
    request_headers  jsonb, -- these four are empty as long as nothing records payloads
    request_payload  text,
    response_payload text,
    runtime_metrics  jsonb,
    PRIMARY KEY (id, timestamp)
) PARTITION BY RANGE (timestamp);
ALTER SEQUENCE public.request_logs_id OWNED BY public.request_logs.id;

-- Rows arrive in order of time, so that a summary of each 128 pages finds days.
CREATE INDEX request_logs_timestamp ON public.request_logs USING brin (timestamp);
CREATE TABLE public.request_logs_default PARTITION OF public.request_logs DEFAULT;

CREATE SEQUENCE public.error_logs_id;
CREATE TABLE public.error_logs (
    id             bigint      NOT NULL DEFAULT nextval('public.error_logs_id'),
    timestamp      timestamptz NOT NULL DEFAULT now(),
    request_id     text        NOT NULL DEFAULT '',
    session_id     text,
    language_title text,
    error_code     text        NOT NULL,
    error_message  text        NOT NULL,
    stack_trace    text,
    context        jsonb,
    PRIMARY KEY (id, timestamp)
) PARTITION BY RANGE (timestamp);
ALTER SEQUENCE public.error_logs_id OWNED BY public.error_logs.id;

CREATE INDEX error_logs_timestamp ON public.error_logs USING brin (timestamp);
CREATE TABLE public.error_logs_default PARTITION OF public.error_logs DEFAULT;

-- How far each of Envoy's log files has been stored, by the file's name.
CREATE TABLE public.log_files (
    name        text        PRIMARY KEY,
    read_offset bigint      NOT NULL,
    updated_at  timestamptz NOT NULL
);

-- Samples of runtime hosts and of result caches, for dashboards that read SQL.
CREATE TABLE analytics.runtime_metrics (
    timestamp    timestamptz      NOT NULL DEFAULT now(),
    language     text             NOT NULL,
    host         text             NOT NULL,
    metric       text             NOT NULL, -- as /metrics names it
    value        double precision NOT NULL
);
CREATE INDEX runtime_metrics_timestamp ON analytics.runtime_metrics USING brin (timestamp);

CREATE TABLE analytics.cache_metrics (
    timestamp    timestamptz NOT NULL DEFAULT now(),
    cache        text        NOT NULL,
    hits         bigint      NOT NULL,
    misses       bigint      NOT NULL,
    entries      bigint      NOT NULL,
    bytes        bigint      NOT NULL
);
CREATE INDEX cache_metrics_timestamp ON analytics.cache_metrics USING brin (timestamp);

CREATE VIEW analytics.daily_usage_stats AS
SELECT (timestamp AT TIME ZONE 'UTC')::date AS day, language_title, operation,
    count(*) AS requests,
    count(*) FILTER (WHERE status_code >= 400) AS errors,
    count(*) FILTER (WHERE cached) AS cached,
    count(DISTINCT user_id) AS users,
    avg(duration_ms) AS avg_duration_ms,
    sum(bytes_in) AS bytes_in, sum(bytes_out) AS bytes_out
FROM public.request_logs GROUP BY 1, 2, 3;

-- The last 7 days.
CREATE VIEW analytics.function_performance AS
SELECT language_title,
    count(*) AS calls,
    count(*) FILTER (WHERE status_code >= 400) AS errors,
    count(*) FILTER (WHERE cached) AS cached,
    avg(duration_ms) AS avg_duration_ms,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY duration_ms) AS p50_duration_ms,
    percentile_cont(0.95) WITHIN GROUP (ORDER BY duration_ms) AS p95_duration_ms,
    percentile_cont(0.99) WITHIN GROUP (ORDER BY duration_ms) AS p99_duration_ms,
    max(duration_ms) AS max_duration_ms
FROM public.request_logs
WHERE timestamp > now() - interval '7 days' AND language_title IS NOT NULL
GROUP BY language_title;

-- The last 7 days: what callers were answered, and what was recorded of errors.
CREATE VIEW analytics.error_summary AS
SELECT status_code::text AS error_code, language_title, error_details AS error_message,
    count(*) AS errors, min(timestamp) AS first_at, max(timestamp) AS last_at
FROM public.request_logs
WHERE timestamp > now() - interval '7 days' AND status_code >= 400
GROUP BY 1, 2, 3
UNION ALL
SELECT error_code, language_title, error_message, count(*), min(timestamp), max(timestamp)
FROM public.error_logs
WHERE timestamp > now() - interval '7 days'
GROUP BY 1, 2, 3;

-- Makes the table of one month, unless it is there. Rows of that month that went to the
-- default one meanwhile move with it.
-- +goose StatementBegin
CREATE FUNCTION public.envoke_add_log_partition(logs text, month date) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
    part   text := logs || '_' || to_char(month, 'YYYYMM');
    begins timestamptz := month::timestamp AT TIME ZONE 'UTC';
    ends   timestamptz := (month::timestamp + interval '1 month') AT TIME ZONE 'UTC';
BEGIN
    IF to_regclass(format('public.%I', part)) IS NOT NULL THEN
        RETURN;
    END IF;
    EXECUTE format('LOCK TABLE public.%I IN ACCESS EXCLUSIVE MODE', logs || '_default');
    EXECUTE format('CREATE TABLE public.%I (LIKE public.%I INCLUDING DEFAULTS)', part, logs);
    EXECUTE format('WITH moved AS (DELETE FROM public.%I WHERE timestamp >= %L AND timestamp < %L RETURNING *)
        INSERT INTO public.%I SELECT * FROM moved', logs || '_default', begins, ends, part);
    EXECUTE format('ALTER TABLE public.%I ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)', logs, part, begins, ends);
END
$$;
-- +goose StatementEnd

-- Makes the tables of this month and of the next two, and drops those of months that ended
-- before the given time, if any. It runs as its owner, so that the program's own user need
-- not own tables. Of several programs that ask at once, one does it.
-- +goose StatementBegin
CREATE FUNCTION public.envoke_keep_log_partitions(before timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
    month date := date_trunc('month', now() AT TIME ZONE 'UTC');
    logs  text;
    part  text;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtextextended('envoke log partitions', 0)) THEN
        RETURN;
    END IF;
    FOREACH logs IN ARRAY ARRAY['request_logs', 'error_logs'] LOOP
        FOR ahead IN 0..2 LOOP
            PERFORM public.envoke_add_log_partition(logs, (month + ahead * interval '1 month')::date);
        END LOOP;
        FOR part IN
            SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
            WHERE i.inhparent = format('public.%I', logs)::regclass AND c.relname ~ '_[0-9]{6}$'
            AND (to_date(right(c.relname, 6), 'YYYYMM')::timestamp + interval '1 month') AT TIME ZONE 'UTC' <= before
        LOOP
            EXECUTE format('DROP TABLE public.%I', part);
        END LOOP;
    END LOOP;
END
$$;
-- +goose StatementEnd

REVOKE ALL ON FUNCTION public.envoke_add_log_partition(text, date) FROM PUBLIC;
REVOKE ALL ON FUNCTION public.envoke_keep_log_partitions(timestamptz) FROM PUBLIC;

-- Roles to grant to users: what Envoke itself needs, what people and dashboards read (neither
-- keys nor code), what a dump needs, and all. They are the cluster's, so that they may be
-- there already, and stay when these tables go. What later migrations make is theirs too.
-- +goose StatementBegin
DO $$
DECLARE
    may_create boolean := (SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user);
    name       text;
BEGIN
    FOREACH name IN ARRAY ARRAY['envoke_app', 'envoke_readonly', 'envoke_backup', 'envoke_admin'] LOOP
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            CONTINUE;
        END IF;
        IF NOT may_create THEN
            RAISE NOTICE 'role % is not made: % may not create roles', name, current_user;
            CONTINUE;
        END IF;
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', name);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL; -- another database of the cluster was first
        END;
    END LOOP;

    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'envoke_app') THEN
        GRANT USAGE ON SCHEMA meta, public, analytics TO envoke_app;
        GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA meta, analytics TO envoke_app;
        GRANT SELECT, INSERT, UPDATE, DELETE ON public.request_logs, public.error_logs, public.log_files TO envoke_app;
        GRANT USAGE ON SEQUENCE public.request_logs_id, public.error_logs_id TO envoke_app;
        GRANT SELECT ON public.goose_db_version TO envoke_app;
        GRANT EXECUTE ON FUNCTION public.envoke_keep_log_partitions(timestamptz) TO envoke_app;
        ALTER DEFAULT PRIVILEGES IN SCHEMA meta, analytics GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO envoke_app;
    END IF;

    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'envoke_readonly') THEN
        GRANT USAGE ON SCHEMA meta, public, analytics TO envoke_readonly;
        GRANT SELECT ON meta.functions, meta.function_versions, meta.sessions TO envoke_readonly;
        GRANT SELECT ON public.request_logs, public.error_logs, public.log_files TO envoke_readonly;
        GRANT SELECT ON ALL TABLES IN SCHEMA analytics TO envoke_readonly;
        ALTER DEFAULT PRIVILEGES IN SCHEMA analytics GRANT SELECT ON TABLES TO envoke_readonly;
    END IF;

    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'envoke_backup') THEN
        GRANT USAGE ON SCHEMA meta, public, analytics TO envoke_backup;
        GRANT SELECT ON ALL TABLES IN SCHEMA meta, public, analytics TO envoke_backup;
        GRANT SELECT ON ALL SEQUENCES IN SCHEMA meta, public, analytics TO envoke_backup;
        ALTER DEFAULT PRIVILEGES IN SCHEMA meta, public, analytics GRANT SELECT ON TABLES TO envoke_backup;
        ALTER DEFAULT PRIVILEGES IN SCHEMA meta, public, analytics GRANT SELECT ON SEQUENCES TO envoke_backup;
    END IF;

    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'envoke_admin') THEN
        GRANT ALL ON SCHEMA meta, public, analytics TO envoke_admin;
        GRANT ALL ON ALL TABLES IN SCHEMA meta, public, analytics TO envoke_admin;
        GRANT ALL ON ALL SEQUENCES IN SCHEMA meta, public, analytics TO envoke_admin;
        GRANT EXECUTE ON FUNCTION public.envoke_keep_log_partitions(timestamptz) TO envoke_admin;
        ALTER DEFAULT PRIVILEGES IN SCHEMA meta, public, analytics GRANT ALL ON TABLES TO envoke_admin;
        ALTER DEFAULT PRIVILEGES IN SCHEMA meta, public, analytics GRANT ALL ON SEQUENCES TO envoke_admin;
    END IF;
END
$$;
-- +goose StatementEnd

-- +goose Down

-- The rules for what is made later are no part of what is dropped.
-- +goose StatementBegin
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['envoke_backup', 'envoke_admin'] LOOP
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            EXECUTE format('ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE ALL ON TABLES FROM %I', name);
            EXECUTE format('ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE ALL ON SEQUENCES FROM %I', name);
        END IF;
    END LOOP;
END
$$;
-- +goose StatementEnd

DROP FUNCTION public.envoke_keep_log_partitions(timestamptz);
DROP FUNCTION public.envoke_add_log_partition(text, date);
DROP VIEW analytics.error_summary, analytics.function_performance, analytics.daily_usage_stats;
DROP TABLE analytics.cache_metrics, analytics.runtime_metrics;
DROP TABLE public.log_files, public.error_logs, public.request_logs;
DROP TABLE meta.sessions, meta.function_versions, meta.functions, meta.scripts, meta.users, meta.keys;
DROP SCHEMA analytics;
DROP SCHEMA meta;
