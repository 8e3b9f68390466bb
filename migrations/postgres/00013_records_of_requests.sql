-- What hosts and controls know of requests beside Envoy's access log. A failure is a row of
-- error_logs. A payload is a part of its request's row: whichever of the two comes first waits
-- for the other, the payload here.

-- +goose Up

ALTER TABLE public.error_logs ADD COLUMN language text, ADD COLUMN component text NOT NULL DEFAULT '';

-- What is told twice, since an answer was lost, is there once.
CREATE UNIQUE INDEX error_logs_request ON public.error_logs (request_id, timestamp, error_code);

CREATE TABLE public.pending_payloads (
    request_id       text        NOT NULL,
    started_at       timestamptz NOT NULL, -- both together are the row's: callers choose ids, and use them twice
    request_headers  jsonb,
    request_payload  text,
    response_payload text,
    runtime_metrics  jsonb,
    received_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (request_id, started_at)
);

-- +goose StatementBegin
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'envoke_app') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON public.pending_payloads TO envoke_app;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'envoke_backup') THEN
        GRANT SELECT ON public.pending_payloads TO envoke_backup;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'envoke_admin') THEN
        GRANT ALL ON public.pending_payloads TO envoke_admin;
    END IF;
END
$$;
-- +goose StatementEnd

-- +goose Down

DROP TABLE public.pending_payloads;
DROP INDEX public.error_logs_request;
ALTER TABLE public.error_logs DROP COLUMN component, DROP COLUMN language;
