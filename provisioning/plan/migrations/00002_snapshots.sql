-- +goose Up
-- The files that an apply took over, so that a later one can go back to them.
CREATE TABLE plan_snapshots (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    applied_at INTEGER NOT NULL, -- Unix microseconds
    phones     INTEGER NOT NULL, -- that the apply concerned
    content    TEXT NOT NULL,    -- SHA-256 of the files, so that the same ones are kept once
    files      BLOB NOT NULL     -- JSON, name to content, sealed by internal/secret
) STRICT;

-- +goose Down
DROP TABLE plan_snapshots;
