-- What controls remember and one of them has changed: each hears of it by NOTIFY, and reads it
-- here by its revision, so that one whose connection was away misses nothing. Triggers write
-- it, whoever makes the change, when its transaction commits and under a lock: revisions
-- are in the order of commits.

-- +goose Up

CREATE TABLE meta.changes (
    revision bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind     text        NOT NULL, -- function or session
    name     text        NOT NULL, -- language-title, or the session's id
    made_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE INDEX changes_made ON meta.changes (made_at);

-- +goose StatementBegin
CREATE FUNCTION meta.envoke_announce(kind text, name text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('envoke changes', 0));
    INSERT INTO meta.changes (kind, name) VALUES (kind, name);
    NOTIFY envoke_changes;
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION meta.envoke_function_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM meta.envoke_announce('function', coalesce(NEW.language_title, OLD.language_title));
    RETURN NULL;
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION meta.envoke_alias_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    title text;
BEGIN
    SELECT f.language_title INTO title FROM meta.functions f WHERE f.id = coalesce(NEW.function_id, OLD.function_id);
    IF title IS NOT NULL THEN
        PERFORM meta.envoke_announce('function', title);
    END IF;
    RETURN NULL;
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION meta.envoke_session_deleted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM meta.envoke_announce('session', OLD.id);
    RETURN NULL;
END
$$;
-- +goose StatementEnd

CREATE CONSTRAINT TRIGGER announce AFTER INSERT OR UPDATE OR DELETE ON meta.functions
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION meta.envoke_function_changed();

CREATE CONSTRAINT TRIGGER announce AFTER INSERT OR UPDATE OR DELETE ON meta.function_aliases
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION meta.envoke_alias_changed();

-- One that had expired is nobody's to run: it goes in silence.
CREATE CONSTRAINT TRIGGER announce AFTER DELETE ON meta.sessions
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (OLD.expires_at > now()) EXECUTE FUNCTION meta.envoke_session_deleted();

REVOKE ALL ON FUNCTION meta.envoke_announce(text, text) FROM PUBLIC;

-- +goose Down

DROP TRIGGER announce ON meta.sessions;
DROP TRIGGER announce ON meta.function_aliases;
DROP TRIGGER announce ON meta.functions;
DROP FUNCTION meta.envoke_session_deleted();
DROP FUNCTION meta.envoke_alias_changed();
DROP FUNCTION meta.envoke_function_changed();
DROP FUNCTION meta.envoke_announce(text, text);
DROP TABLE meta.changes;
