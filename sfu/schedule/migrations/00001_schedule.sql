-- +goose Up
-- A meeting that is planned, once or weekly. plan is its JSON (sfu/schedule.Plan); the PIN is sealed apart.
CREATE TABLE schedule_series (
    id           TEXT    PRIMARY KEY,
    plan         TEXT    NOT NULL,
    pin          BLOB,             -- sealed; null: none
    sequence     INTEGER NOT NULL, -- revision, as calendars count it
    created_by   TEXT    NOT NULL,
    created_at   INTEGER NOT NULL, -- seconds since 1970
    updated_at   INTEGER NOT NULL,
    cancelled_at INTEGER           -- null: it takes place
) WITHOUT ROWID;

-- Calendars that somebody subscribes to: whoever knows the token may read them.
CREATE TABLE schedule_feeds (
    id         TEXT    PRIMARY KEY,
    hash       BLOB    NOT NULL UNIQUE, -- SHA-256 of the token
    room       TEXT    NOT NULL,        -- '' = any
    venue      TEXT    NOT NULL,        -- '' = any
    created_by TEXT    NOT NULL,
    created_at INTEGER NOT NULL
) WITHOUT ROWID;
