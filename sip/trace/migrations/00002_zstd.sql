-- +goose Up
-- The form of messages is another one (pack.go). No release wrote the one before.
DELETE FROM call_trace;

-- +goose Down
DELETE FROM call_trace;
