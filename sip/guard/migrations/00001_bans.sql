-- +goose Up
CREATE TABLE guard_bans (
    address TEXT PRIMARY KEY, -- of a source; an IPv6 source is its /64
    since   INTEGER NOT NULL, -- milliseconds
    until   INTEGER NOT NULL,
    level   INTEGER NOT NULL, -- how often in a row
    tries   INTEGER NOT NULL,
    reason  TEXT NOT NULL
);
