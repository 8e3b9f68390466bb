-- Who has changed what. A row is written with the change that it tells of, and stays: who must
-- delete rows needs the table's owner, to disable the triggers first.

-- +goose Up

CREATE TABLE meta.audit (
    number     bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         timestamptz NOT NULL,
    action     text        COLLATE "C" NOT NULL,
    target     text        COLLATE "C" NOT NULL, -- the name or id of what was changed
    namespace  text        COLLATE "C" NOT NULL DEFAULT '',
    user_namespace text COLLATE "C" NOT NULL DEFAULT '', -- of who has changed it
    user_id    text        COLLATE "C" NOT NULL, -- '': nobody in particular
    proof      text        NOT NULL, -- how the user proved itself; '': not at all
    address    text        NOT NULL,
    request_id text        NOT NULL,
    details    text        NOT NULL DEFAULT '{}' -- JSON
);

CREATE INDEX audit_namespace ON meta.audit (namespace, number); -- of which lists are read

-- +goose StatementBegin
CREATE FUNCTION meta.envoke_audit_stays() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'rows of meta.audit are never changed or deleted';
END
$$;
-- +goose StatementEnd

CREATE TRIGGER stays BEFORE UPDATE OR DELETE OR TRUNCATE ON meta.audit
    FOR EACH STATEMENT EXECUTE FUNCTION meta.envoke_audit_stays();

-- Whoever made the schema has given envoke_app all of its tables.
-- +goose StatementBegin
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'envoke_app') THEN
        REVOKE ALL ON meta.audit FROM envoke_app;
        GRANT SELECT, INSERT ON meta.audit TO envoke_app;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'envoke_backup') THEN
        GRANT SELECT ON meta.audit TO envoke_backup;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'envoke_admin') THEN
        GRANT ALL ON meta.audit TO envoke_admin;
    END IF;
END
$$;
-- +goose StatementEnd

-- +goose Down

DROP TABLE meta.audit;
DROP FUNCTION meta.envoke_audit_stays();
