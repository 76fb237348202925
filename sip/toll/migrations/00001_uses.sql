-- +goose Up
CREATE TABLE toll_uses (
    id     INTEGER PRIMARY KEY,
    at     INTEGER NOT NULL, -- milliseconds
    kind   TEXT NOT NULL,    -- terminal or trunk
    name   TEXT NOT NULL,
    toll   TEXT NOT NULL,
    number TEXT NOT NULL
);
CREATE INDEX toll_uses_at ON toll_uses (at);
