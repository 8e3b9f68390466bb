-- Sessions whose context is what the last call left in it. The host whose call has taken it
-- has it until it puts it back, or until the call's time is over.

-- +goose Up

ALTER TABLE meta.sessions ADD COLUMN retain_session boolean NOT NULL DEFAULT false;
ALTER TABLE meta.sessions ADD COLUMN context_host text NOT NULL DEFAULT '';
ALTER TABLE meta.sessions ADD COLUMN context_until timestamptz; -- NULL: it is free

-- +goose Down

ALTER TABLE meta.sessions DROP COLUMN context_until;
ALTER TABLE meta.sessions DROP COLUMN context_host;
ALTER TABLE meta.sessions DROP COLUMN retain_session;
