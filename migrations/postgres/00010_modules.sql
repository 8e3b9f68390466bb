-- WebAssembly modules that were built from source, for all hosts. They can be built again, so
-- those used longest ago go when there are too many.

-- +goose Up

CREATE TABLE meta.modules (
    digest       text        COLLATE "C" PRIMARY KEY, -- SHA-256 of source, options and toolchain
    wasm         bytea       NOT NULL,
    size         bigint      NOT NULL, -- bytes of wasm
    created_at   timestamptz NOT NULL,
    last_used_at timestamptz NOT NULL -- to the hour
);

-- Compressing what is compressed again each time that it is read costs more than its space.
ALTER TABLE meta.modules ALTER COLUMN wasm SET STORAGE EXTERNAL;

CREATE INDEX modules_used ON meta.modules (last_used_at, size);

-- +goose Down

DROP TABLE meta.modules;
