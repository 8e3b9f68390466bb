-- What functions find in their environment: texts, and secrets by their names. The values of
-- secrets are sealed: without the installation's key file nobody reads them.

-- +goose Up

ALTER TABLE meta.function_versions ADD COLUMN environment text; -- {"<name>": "<text>" or {"secret": "<name>"}, …}, or NULL
ALTER TABLE meta.function_aliases ADD COLUMN environment text;  -- adds to that of the version
ALTER TABLE meta.sessions ADD COLUMN environment text;          -- of the function's version and alias when it was made

CREATE TABLE meta.secrets (
    owner      text        COLLATE "C" NOT NULL, -- '': nobody's in particular
    name       text        COLLATE "C" NOT NULL,
    key_id     text        NOT NULL,
    sealed     bytea       NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (owner, name)
);

-- +goose StatementBegin
CREATE FUNCTION meta.envoke_secret_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM meta.envoke_announce('secret', coalesce(NEW.name, OLD.name));
    RETURN NULL;
END
$$;
-- +goose StatementEnd

CREATE CONSTRAINT TRIGGER announce AFTER INSERT OR UPDATE OR DELETE ON meta.secrets
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION meta.envoke_secret_changed();

-- As for the other tables of the schema, whoever made it; envoke_readonly reads none of it.
-- +goose StatementBegin
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'envoke_app') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON meta.secrets TO envoke_app;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'envoke_backup') THEN
        GRANT SELECT ON meta.secrets TO envoke_backup;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'envoke_admin') THEN
        GRANT ALL ON meta.secrets TO envoke_admin;
    END IF;
END
$$;
-- +goose StatementEnd

-- +goose Down

DROP TABLE meta.secrets;
DROP FUNCTION meta.envoke_secret_changed();
ALTER TABLE meta.sessions DROP COLUMN environment;
ALTER TABLE meta.function_aliases DROP COLUMN environment;
ALTER TABLE meta.function_versions DROP COLUMN environment;
