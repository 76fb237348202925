-- +goose Up
-- What the phones themselves measured of a call (RFC 6035), a row per report.
CREATE TABLE cdr_quality (
    call_id     TEXT NOT NULL,    -- cdr.id
    reported_at INTEGER NOT NULL, -- Unix milliseconds
    extension   TEXT NOT NULL,
    report      TEXT NOT NULL     -- JSON
) STRICT;
CREATE INDEX cdr_quality_call ON cdr_quality (call_id, reported_at);

-- +goose Down
DROP TABLE cdr_quality;
