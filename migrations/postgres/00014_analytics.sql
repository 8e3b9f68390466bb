-- Samples are told by several hosts and controls, each under its name, and what is told twice,
-- since an answer was lost, is there once. The summary of errors counts each failed request
-- once: by its code, where a host or control has told it, else by Envoy's own words.

-- +goose Up

ALTER TABLE analytics.cache_metrics ADD COLUMN host text NOT NULL DEFAULT '';

CREATE UNIQUE INDEX runtime_metrics_once ON analytics.runtime_metrics (timestamp, host, language, metric);
CREATE UNIQUE INDEX cache_metrics_once ON analytics.cache_metrics (timestamp, host, cache);

CREATE OR REPLACE VIEW analytics.error_summary AS
SELECT status_code::text AS error_code, language_title, error_details AS error_message,
    count(*) AS errors, min(timestamp) AS first_at, max(timestamp) AS last_at, 'envoy' AS component
FROM public.request_logs l
WHERE timestamp > now() - interval '7 days' AND status_code >= 400
AND NOT EXISTS (SELECT FROM public.error_logs e WHERE e.request_id = l.request_id
    AND e.timestamp BETWEEN l.timestamp - interval '1 minute' AND l.timestamp + interval '1 day')
GROUP BY 1, 2, 3
UNION ALL
SELECT error_code, language_title, error_message, count(*), min(timestamp), max(timestamp), component
FROM public.error_logs
WHERE timestamp > now() - interval '7 days'
GROUP BY error_code, language_title, error_message, component;

-- +goose Down

DROP VIEW analytics.error_summary;

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

DROP INDEX analytics.cache_metrics_once;
DROP INDEX analytics.runtime_metrics_once;
ALTER TABLE analytics.cache_metrics DROP COLUMN host;
