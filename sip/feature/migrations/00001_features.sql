-- +goose Up
CREATE TABLE feature_settings (
    extension  TEXT PRIMARY KEY,
    settings   TEXT NOT NULL, -- JSON
    changed_at INTEGER NOT NULL
);
CREATE TABLE feature_pins (
    extension  TEXT PRIMARY KEY,
    hash       TEXT NOT NULL,
    changed_at INTEGER NOT NULL
);
CREATE TABLE feature_desks (
    desk  TEXT PRIMARY KEY,
    guest TEXT NOT NULL UNIQUE,
    since INTEGER NOT NULL,
    until INTEGER NOT NULL
);
CREATE TABLE feature_last_callers (
    extension TEXT PRIMARY KEY,
    number    TEXT NOT NULL,
    at        INTEGER NOT NULL
);
CREATE TABLE feature_completions (
    caller  TEXT NOT NULL,
    callee  TEXT NOT NULL,
    waits   TEXT NOT NULL,
    since   INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    PRIMARY KEY (caller, callee)
);
