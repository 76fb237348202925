-- +goose Up
-- One row per recording; what was said is in its file.
CREATE TABLE recording (
    id         TEXT PRIMARY KEY,
    call_id    TEXT NOT NULL,    -- cdr.id
    started_at INTEGER NOT NULL, -- Unix milliseconds
    ended_at   INTEGER,          -- Unix milliseconds; NULL: under way, or interrupted by a crash
    bytes      INTEGER NOT NULL, -- of the file
    info       TEXT NOT NULL     -- JSON
) STRICT;
CREATE INDEX recording_call ON recording (call_id);
CREATE INDEX recording_started ON recording (started_at);

-- +goose Down
DROP TABLE recording;
