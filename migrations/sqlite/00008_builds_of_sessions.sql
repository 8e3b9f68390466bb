-- What a session's build is at while its compile_status is pending, and since when. Why
-- one failed is in compile_error: {code, message, details}.

-- +goose Up

ALTER TABLE meta_sessions ADD COLUMN compile_step TEXT NOT NULL DEFAULT '';
ALTER TABLE meta_sessions ADD COLUMN compile_since INTEGER; -- NULL: it was never pending

-- +goose Down

ALTER TABLE meta_sessions DROP COLUMN compile_since;
ALTER TABLE meta_sessions DROP COLUMN compile_step;
