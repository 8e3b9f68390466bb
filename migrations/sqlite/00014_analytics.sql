-- What dashboards read, as PostgreSQL has it in its schema analytics. Times are microseconds
-- since 1970, and days those of UTC.

-- +goose Up

CREATE TABLE analytics_runtime_metrics (
    timestamp INTEGER NOT NULL,
    language  TEXT    NOT NULL,
    host      TEXT    NOT NULL,
    metric    TEXT    NOT NULL, -- as /metrics names it
    value     REAL    NOT NULL,
    PRIMARY KEY (timestamp, host, language, metric)
) STRICT, WITHOUT ROWID;

CREATE TABLE analytics_cache_metrics (
    timestamp INTEGER NOT NULL,
    cache     TEXT    NOT NULL,
    hits      INTEGER NOT NULL, -- since the sample before
    misses    INTEGER NOT NULL,
    entries   INTEGER NOT NULL,
    bytes     INTEGER NOT NULL,
    host      TEXT    NOT NULL,
    PRIMARY KEY (timestamp, host, cache)
) STRICT, WITHOUT ROWID;

-- Rows with the names of their functions, where the caller gave none as long as their session
-- is known.
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

-- The last 7 days.
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

-- The last 7 days: each failed request once, by its code where the host or control has told it,
-- else by Envoy's own words.
CREATE VIEW analytics_error_summary AS
SELECT CAST(status_code AS TEXT) AS error_code, language_title, error_details AS error_message,
    count(*) AS errors, min(started_at) AS first_at, max(started_at) AS last_at, 'envoy' AS component
FROM analytics_requests l
WHERE started_at > (unixepoch() - 7 * 86400) * 1000000 AND status_code >= 400
AND NOT EXISTS (SELECT 1 FROM error_logs e WHERE e.request_id = l.request_id
    AND e.timestamp BETWEEN l.started_at - 60000000 AND l.started_at + 86400000000)
GROUP BY 1, 2, 3
UNION ALL
SELECT error_code, language_title, error_message, count(*), min(timestamp), max(timestamp), component
FROM error_logs
WHERE timestamp > (unixepoch() - 7 * 86400) * 1000000
GROUP BY error_code, language_title, error_message, component;

-- +goose Down

DROP VIEW analytics_error_summary;
DROP VIEW analytics_function_performance;
DROP VIEW analytics_daily_usage_stats;
DROP VIEW analytics_requests;
DROP TABLE analytics_cache_metrics;
DROP TABLE analytics_runtime_metrics;
