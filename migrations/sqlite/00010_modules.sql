-- WebAssembly modules that were built from source, for all hosts. They can be built again, so
-- those used longest ago go when there are too many.

-- +goose Up

CREATE TABLE meta_modules (
    digest       TEXT PRIMARY KEY, -- SHA-256 of source, options and toolchain
    wasm         BLOB    NOT NULL,
    size         INTEGER NOT NULL, -- bytes of wasm
    created_at   INTEGER NOT NULL,
    last_used_at INTEGER NOT NULL  -- to the hour
) STRICT;

CREATE INDEX meta_modules_used ON meta_modules (last_used_at, size);

-- +goose Down

DROP TABLE meta_modules;
