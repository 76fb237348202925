-- +goose Up
-- Established calls: what the next process needs to go on with them after a crash.
CREATE TABLE call_state (
    id    TEXT PRIMARY KEY,
    state TEXT NOT NULL -- JSON, see saved in state.go
) STRICT;

-- +goose Down
DROP TABLE call_state;
