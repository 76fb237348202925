-- +goose Up
-- One row per call. A row without ended_at belongs to a call that is under way, or that a crash interrupted.
CREATE TABLE cdr (
    id         TEXT PRIMARY KEY,
    started_at INTEGER NOT NULL, -- Unix milliseconds
    ended_at   INTEGER,          -- Unix milliseconds
    caller     TEXT NOT NULL,
    callee     TEXT NOT NULL,
    record     TEXT NOT NULL     -- the whole record as JSON
) STRICT;
CREATE INDEX cdr_started ON cdr (started_at);

-- +goose Down
DROP TABLE cdr;
