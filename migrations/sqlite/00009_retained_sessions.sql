-- Sessions whose context is what the last call left in it. The host whose call has taken it
-- has it until it puts it back, or until the call's time is over.

-- +goose Up

ALTER TABLE meta_sessions ADD COLUMN retain_session INTEGER NOT NULL DEFAULT 0;
ALTER TABLE meta_sessions ADD COLUMN context_host TEXT NOT NULL DEFAULT '';
ALTER TABLE meta_sessions ADD COLUMN context_until INTEGER NOT NULL DEFAULT 0; -- 0: it is free

-- +goose Down

ALTER TABLE meta_sessions DROP COLUMN context_until;
ALTER TABLE meta_sessions DROP COLUMN context_host;
ALTER TABLE meta_sessions DROP COLUMN retain_session;
