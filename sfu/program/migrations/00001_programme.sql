-- +goose Up
-- What was recorded of meetings; the pictures and voices are in files.
CREATE TABLE programme (
    id         TEXT PRIMARY KEY,
    room       TEXT NOT NULL,
    started_at INTEGER NOT NULL, -- Unix milliseconds
    ended_at   INTEGER,          -- Unix milliseconds; NULL: under way, or interrupted by a crash
    info       TEXT NOT NULL     -- JSON
) STRICT;
CREATE INDEX programme_started ON programme (started_at);
CREATE TABLE programme_part (
    programme  TEXT NOT NULL,
    number     INTEGER NOT NULL,
    started_at INTEGER NOT NULL, -- Unix milliseconds
    ended_at   INTEGER,          -- Unix milliseconds; NULL: being written, or cut off by a crash
    bytes      INTEGER NOT NULL, -- of the file
    info       TEXT NOT NULL,    -- JSON
    PRIMARY KEY (programme, number)
) STRICT;
CREATE TABLE programme_mark (
    programme TEXT NOT NULL,
    at        INTEGER NOT NULL, -- Unix milliseconds
    info      TEXT NOT NULL     -- JSON
) STRICT;
CREATE INDEX programme_mark_of ON programme_mark (programme, at);
CREATE TABLE programme_export (
    id         TEXT PRIMARY KEY,
    programme  TEXT NOT NULL,
    created_at INTEGER NOT NULL, -- Unix milliseconds
    bytes      INTEGER NOT NULL, -- of the file
    info       TEXT NOT NULL     -- JSON
) STRICT;
CREATE INDEX programme_export_of ON programme_export (programme, created_at);

-- +goose Down
DROP TABLE programme_export;
DROP TABLE programme_mark;
DROP TABLE programme_part;
DROP TABLE programme;
