-- A namespace is what a team has of an installation; '' is the default one, where all is that
-- was there before. Secrets have theirs in their owner: "<namespace><tab><user's id>". Changes
-- name a function of another than the default one as "<namespace>/<language>-<title>".

-- +goose Up

ALTER TABLE meta.functions ADD COLUMN namespace text COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE meta.functions DROP CONSTRAINT functions_language_title_key;
ALTER TABLE meta.functions ADD CONSTRAINT functions_namespace_language_title_key UNIQUE (namespace, language_title);
DROP INDEX meta.functions_created;
CREATE INDEX functions_created ON meta.functions (created_at, namespace, language, is_active);

ALTER TABLE meta.sessions ADD COLUMN namespace text COLLATE "C" NOT NULL DEFAULT '';

ALTER TABLE meta.api_keys DROP CONSTRAINT api_keys_user_id_fkey;
ALTER TABLE meta.users ADD COLUMN namespace text COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE meta.users DROP CONSTRAINT users_pkey;
ALTER TABLE meta.users ADD CONSTRAINT users_pkey PRIMARY KEY (namespace, user_id);
ALTER TABLE meta.api_keys ADD COLUMN namespace text COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE meta.api_keys ADD CONSTRAINT api_keys_user_id_fkey FOREIGN KEY (namespace, user_id) REFERENCES meta.users (namespace, user_id);
DROP INDEX meta.api_keys_user;
CREATE INDEX api_keys_user ON meta.api_keys (namespace, user_id);

DROP TRIGGER announce ON meta.api_keys;
CREATE CONSTRAINT TRIGGER announce
    AFTER DELETE OR UPDATE OF id, api_key_hash, namespace, user_id, scopes, languages, expires_at, revoked_at ON meta.api_keys
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION meta.envoke_key_changed();

-- NULL is the default one.
ALTER TABLE public.request_logs ADD COLUMN namespace text;

-- Functions of one name in two namespaces are two.
CREATE OR REPLACE VIEW analytics.daily_usage_stats AS
SELECT (timestamp AT TIME ZONE 'UTC')::date AS day, language_title, operation,
    count(*) AS requests,
    count(*) FILTER (WHERE status_code >= 400) AS errors,
    count(*) FILTER (WHERE cached) AS cached,
    count(DISTINCT user_id) AS users,
    avg(duration_ms) AS avg_duration_ms,
    sum(bytes_in) AS bytes_in, sum(bytes_out) AS bytes_out,
    namespace
FROM public.request_logs GROUP BY 1, 2, 3, namespace;

CREATE OR REPLACE VIEW analytics.function_performance AS
SELECT language_title,
    count(*) AS calls,
    count(*) FILTER (WHERE status_code >= 400) AS errors,
    count(*) FILTER (WHERE cached) AS cached,
    avg(duration_ms) AS avg_duration_ms,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY duration_ms) AS p50_duration_ms,
    percentile_cont(0.95) WITHIN GROUP (ORDER BY duration_ms) AS p95_duration_ms,
    percentile_cont(0.99) WITHIN GROUP (ORDER BY duration_ms) AS p99_duration_ms,
    max(duration_ms) AS max_duration_ms,
    namespace
FROM public.request_logs
WHERE timestamp > now() - interval '7 days' AND language_title IS NOT NULL
GROUP BY language_title, namespace;

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION meta.envoke_function_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM meta.envoke_announce('function',
        coalesce(nullif(coalesce(NEW.namespace, OLD.namespace), '') || '/', '') || coalesce(NEW.language_title, OLD.language_title));
    RETURN NULL;
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION meta.envoke_alias_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    title text;
BEGIN
    SELECT coalesce(nullif(f.namespace, '') || '/', '') || f.language_title INTO title
        FROM meta.functions f WHERE f.id = coalesce(NEW.function_id, OLD.function_id);
    IF title IS NOT NULL THEN
        PERFORM meta.envoke_announce('function', title);
    END IF;
    RETURN NULL;
END
$$;
-- +goose StatementEnd

-- +goose Down

-- Without namespaces all could see what was in one: it goes.
DELETE FROM meta.api_keys WHERE namespace <> '';
DELETE FROM meta.users WHERE namespace <> '';
DELETE FROM meta.secrets WHERE strpos(owner, chr(9)) > 0;
DELETE FROM meta.sessions WHERE namespace <> '';
DELETE FROM meta.functions WHERE namespace <> ''; -- with their versions and aliases
DELETE FROM meta.scripts s WHERE NOT EXISTS (SELECT 1 FROM meta.sessions WHERE script_hash = s.digest)
    AND NOT EXISTS (SELECT 1 FROM meta.function_versions WHERE script_digest = s.digest);
SET CONSTRAINTS ALL IMMEDIATE; -- tables with triggers to run cannot be altered

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION meta.envoke_function_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM meta.envoke_announce('function', coalesce(NEW.language_title, OLD.language_title));
    RETURN NULL;
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION meta.envoke_alias_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    title text;
BEGIN
    SELECT f.language_title INTO title FROM meta.functions f WHERE f.id = coalesce(NEW.function_id, OLD.function_id);
    IF title IS NOT NULL THEN
        PERFORM meta.envoke_announce('function', title);
    END IF;
    RETURN NULL;
END
$$;
-- +goose StatementEnd

DROP VIEW analytics.function_performance, analytics.daily_usage_stats;
ALTER TABLE public.request_logs DROP COLUMN namespace;

CREATE VIEW analytics.daily_usage_stats AS
SELECT (timestamp AT TIME ZONE 'UTC')::date AS day, language_title, operation,
    count(*) AS requests,
    count(*) FILTER (WHERE status_code >= 400) AS errors,
    count(*) FILTER (WHERE cached) AS cached,
    count(DISTINCT user_id) AS users,
    avg(duration_ms) AS avg_duration_ms,
    sum(bytes_in) AS bytes_in, sum(bytes_out) AS bytes_out
FROM public.request_logs GROUP BY 1, 2, 3;

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

DROP TRIGGER announce ON meta.api_keys;
CREATE CONSTRAINT TRIGGER announce
    AFTER DELETE OR UPDATE OF id, api_key_hash, user_id, scopes, languages, expires_at, revoked_at ON meta.api_keys
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION meta.envoke_key_changed();

DROP INDEX meta.api_keys_user;
CREATE INDEX api_keys_user ON meta.api_keys (user_id);
ALTER TABLE meta.api_keys DROP CONSTRAINT api_keys_user_id_fkey;
ALTER TABLE meta.api_keys DROP COLUMN namespace;
ALTER TABLE meta.users DROP CONSTRAINT users_pkey;
ALTER TABLE meta.users DROP COLUMN namespace;
ALTER TABLE meta.users ADD CONSTRAINT users_pkey PRIMARY KEY (user_id);
ALTER TABLE meta.api_keys ADD CONSTRAINT api_keys_user_id_fkey FOREIGN KEY (user_id) REFERENCES meta.users (user_id);

ALTER TABLE meta.sessions DROP COLUMN namespace;

DROP INDEX meta.functions_created;
CREATE INDEX functions_created ON meta.functions (created_at, language, is_active);
ALTER TABLE meta.functions DROP CONSTRAINT functions_namespace_language_title_key;
ALTER TABLE meta.functions DROP COLUMN namespace;
ALTER TABLE meta.functions ADD CONSTRAINT functions_language_title_key UNIQUE (language_title);
