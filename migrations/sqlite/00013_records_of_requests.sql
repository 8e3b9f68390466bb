-- What hosts and controls know of requests beside Envoy's access log: why they failed, and what
-- they held. The view shows a payload in its request's row, whichever of the two came first.

-- +goose Up

CREATE TABLE error_logs (
    id             INTEGER PRIMARY KEY,
    timestamp      INTEGER NOT NULL, -- microseconds since 1970
    request_id     TEXT    NOT NULL,
    session_id     TEXT,
    language_title TEXT,
    language       TEXT,
    component      TEXT    NOT NULL,
    error_code     TEXT    NOT NULL,
    error_message  TEXT    NOT NULL,
    stack_trace    TEXT,
    context        TEXT    -- JSON
) STRICT;

-- What is told twice, since an answer was lost, is there once.
CREATE UNIQUE INDEX error_logs_request ON error_logs (request_id, timestamp, error_code);

-- Callers choose request ids, and use them twice: the time makes the row's.
CREATE TABLE request_payloads (
    request_id       TEXT    NOT NULL,
    started_at       INTEGER NOT NULL,
    request_headers  TEXT, -- JSON
    request_payload  TEXT,
    response_payload TEXT,
    runtime_metrics  TEXT, -- JSON
    PRIMARY KEY (request_id, started_at)
) STRICT;

CREATE INDEX request_payloads_started ON request_payloads (started_at);

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

-- +goose Down

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
    line ->> 14 AS error_details
FROM request_lines;

DROP TABLE request_payloads;
DROP TABLE error_logs;
