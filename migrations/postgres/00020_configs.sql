-- The routes that operators declare by the API: every version that was put lately, and which one
-- is to be served. All controls hear of another one.

-- +goose Up

CREATE TABLE meta.configs (
    version    integer     PRIMARY KEY,
    document   text        NOT NULL, -- YAML or JSON, as it was put
    bytes      integer     NOT NULL, -- of the document
    digest     text        NOT NULL, -- of the document
    created_at timestamptz NOT NULL,
    created_by text        NOT NULL -- '': nobody in particular
);

CREATE TABLE meta.config_current (
    one          boolean PRIMARY KEY DEFAULT true CHECK (one),
    version      integer NOT NULL, -- 0: none was put yet
    last_version integer NOT NULL  -- that was ever put
);

INSERT INTO meta.config_current (version, last_version) VALUES (0, 0);

-- +goose StatementBegin
CREATE FUNCTION meta.envoke_config_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM meta.envoke_announce('config', NEW.version::text);
    RETURN NULL;
END
$$;
-- +goose StatementEnd

CREATE CONSTRAINT TRIGGER announce AFTER INSERT OR UPDATE ON meta.config_current
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION meta.envoke_config_changed();

-- As for the other tables of the schema, whoever made it; envoke_readonly reads none of it.
-- +goose StatementBegin
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'envoke_app') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON meta.configs, meta.config_current TO envoke_app;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'envoke_backup') THEN
        GRANT SELECT ON meta.configs, meta.config_current TO envoke_backup;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'envoke_admin') THEN
        GRANT ALL ON meta.configs, meta.config_current TO envoke_admin;
    END IF;
END
$$;
-- +goose StatementEnd

-- +goose Down

DROP TABLE meta.config_current;
DROP TABLE meta.configs;
DROP FUNCTION meta.envoke_config_changed();
