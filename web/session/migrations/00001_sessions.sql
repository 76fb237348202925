-- +goose Up
CREATE TABLE web_sessions (
    hash       BLOB PRIMARY KEY,    -- SHA-256 of the cookie's value
    kind       TEXT NOT NULL,       -- user or device
    subject    TEXT NOT NULL,       -- user name or device id
    source     TEXT NOT NULL,       -- address of the log-in
    created_at INTEGER NOT NULL,    -- Unix seconds, as below
    seen_at    INTEGER NOT NULL,    -- last use, to the minute
    expires_at INTEGER NOT NULL     -- at the latest
) STRICT;
CREATE INDEX web_sessions_subject ON web_sessions (kind, subject, created_at);

-- +goose Down
DROP TABLE web_sessions;
