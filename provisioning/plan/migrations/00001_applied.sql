-- +goose Up
-- What each phone was last told by an apply: the settings of its file, with marks in the place of secrets.
CREATE TABLE plan_applied (
    mac        TEXT PRIMARY KEY,
    extension  TEXT NOT NULL,
    brand      TEXT NOT NULL,
    settings   TEXT NOT NULL,    -- JSON, [["key","value"], ...]
    applied_at INTEGER NOT NULL  -- Unix microseconds
) STRICT;

-- +goose Down
DROP TABLE plan_applied;
