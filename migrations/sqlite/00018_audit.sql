-- Who has changed what. A row is written with the change that it tells of, and stays: who must
-- delete rows drops the triggers first.

-- +goose Up

CREATE TABLE meta_audit (
    number     INTEGER PRIMARY KEY AUTOINCREMENT, -- in the order of changes
    at         INTEGER NOT NULL, -- microseconds since 1970
    action     TEXT    NOT NULL,
    target     TEXT    NOT NULL, -- the name or id of what was changed
    namespace  TEXT    NOT NULL DEFAULT '',
    user_namespace TEXT NOT NULL DEFAULT '', -- of who has changed it
    user_id    TEXT    NOT NULL, -- '': nobody in particular
    proof      TEXT    NOT NULL, -- how the user proved itself; '': not at all
    address    TEXT    NOT NULL,
    request_id TEXT    NOT NULL,
    details    TEXT    NOT NULL DEFAULT '{}' -- JSON
) STRICT;

CREATE INDEX meta_audit_namespace ON meta_audit (namespace, number); -- of which lists are read

-- +goose StatementBegin
CREATE TRIGGER meta_audit_stays BEFORE UPDATE ON meta_audit BEGIN
    SELECT RAISE(ABORT, 'rows of meta_audit are never changed');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER meta_audit_remains BEFORE DELETE ON meta_audit BEGIN
    SELECT RAISE(ABORT, 'rows of meta_audit are never deleted');
END;
-- +goose StatementEnd

-- INSERT OR REPLACE deletes rows without a trigger of theirs.
-- +goose StatementBegin
CREATE TRIGGER meta_audit_appends BEFORE INSERT ON meta_audit
WHEN EXISTS (SELECT 1 FROM meta_audit WHERE number = NEW.number) BEGIN
    SELECT RAISE(ABORT, 'rows of meta_audit are never replaced');
END;
-- +goose StatementEnd

-- +goose Down

DROP TABLE meta_audit;
