-- The keys by which users call: a user has several, so that one can be replaced before it ends.
-- Of a secret there is its hash alone. What a control may remember of a key, and another has
-- changed, is announced as changes of functions are; that it was used is not.

-- +goose Up

ALTER TABLE meta.users DROP COLUMN api_key_hash;

CREATE TABLE meta.api_keys (
    number       bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- in the order in which they were made
    id           text        COLLATE "C" NOT NULL UNIQUE,
    api_key_hash text        COLLATE "C" NOT NULL UNIQUE, -- SHA-256 of the secret, in hex
    user_id      text        NOT NULL REFERENCES meta.users (user_id),
    name         text        NOT NULL,
    scopes       text        NOT NULL, -- separated by spaces
    languages    text[]      NOT NULL DEFAULT '{}', -- {}: all
    created_at   timestamptz NOT NULL,
    created_by   text        NOT NULL DEFAULT '',
    expires_at   timestamptz, -- NULL: never
    last_used_at timestamptz, -- NULL: never
    revoked_at   timestamptz  -- NULL: it was not
) WITH (fillfactor = 80); -- room for the time of use beside the row, so that it touches no index

CREATE INDEX api_keys_user ON meta.api_keys (user_id);

-- +goose StatementBegin
CREATE FUNCTION meta.envoke_key_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM meta.envoke_announce('key', OLD.id);
    RETURN NULL;
END
$$;
-- +goose StatementEnd

CREATE CONSTRAINT TRIGGER announce
    AFTER DELETE OR UPDATE OF id, api_key_hash, user_id, scopes, languages, expires_at, revoked_at ON meta.api_keys
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION meta.envoke_key_changed();

-- +goose Down

DROP TABLE meta.api_keys;
DROP FUNCTION meta.envoke_key_changed();
ALTER TABLE meta.users ADD COLUMN api_key_hash text UNIQUE;
