-- +goose Up
-- The SIP messages of finished calls, secrets masked, compressed.
CREATE TABLE call_trace (
    call_id  TEXT PRIMARY KEY,
    ended_at INTEGER NOT NULL, -- Unix milliseconds
    size     INTEGER NOT NULL, -- bytes of messages
    messages BLOB NOT NULL     -- see store.go
) STRICT;
CREATE INDEX call_trace_ended ON call_trace (ended_at);

-- +goose Down
DROP TABLE call_trace;
