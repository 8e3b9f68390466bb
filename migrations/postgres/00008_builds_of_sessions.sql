-- What a session's build is at while its compile_status is pending, and since when. Why
-- one failed is in compile_error: {code, message, details}.

-- +goose Up

ALTER TABLE meta.sessions ADD COLUMN compile_step text NOT NULL DEFAULT '';
ALTER TABLE meta.sessions ADD COLUMN compile_since timestamptz; -- NULL: it was never pending

-- +goose Down

ALTER TABLE meta.sessions DROP COLUMN compile_since;
ALTER TABLE meta.sessions DROP COLUMN compile_step;
