-- PostgreSQL tells several controls what one has changed from here on. An SQLite file has one
-- control: the number is the same, and there is nothing to do.

-- +goose Up

SELECT 1;

-- +goose Down

SELECT 1;
