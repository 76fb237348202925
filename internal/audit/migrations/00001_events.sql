-- +goose Up
CREATE TABLE audit_events (
    seq    INTEGER PRIMARY KEY,  -- 1, 2, 3 ... without a gap
    at     INTEGER NOT NULL,     -- Unix microseconds
    actor  TEXT NOT NULL,
    source TEXT NOT NULL,
    action TEXT NOT NULL,
    object TEXT NOT NULL,
    detail TEXT NOT NULL,        -- JSON object of texts, keys sorted
    hash   BLOB NOT NULL         -- SHA-256 over the previous hash and this row
) STRICT;
-- +goose StatementBegin
CREATE TRIGGER audit_events_keep BEFORE UPDATE ON audit_events
BEGIN SELECT RAISE(ABORT, 'audit events are never changed'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER audit_events_stay BEFORE DELETE ON audit_events
BEGIN SELECT RAISE(ABORT, 'audit events are never removed'); END;
-- +goose StatementEnd
-- One row: the last event, sealed, so that events missing at the end are noticed.
CREATE TABLE audit_head (
    id   INTEGER PRIMARY KEY CHECK (id = 1),
    seq  INTEGER NOT NULL,
    hash BLOB NOT NULL,
    seal BLOB NOT NULL           -- HMAC-SHA-256, empty when the chain was opened without a key
) STRICT;

-- +goose Down
DROP TABLE audit_head;
DROP TABLE audit_events;
