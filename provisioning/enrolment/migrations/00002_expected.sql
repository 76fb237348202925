-- +goose Up
-- A phone that somebody has named may enrol until expires_at, whether the window of its site is open or not.
CREATE TABLE enrolment_expected (
    mac        TEXT PRIMARY KEY,
    opened_at  INTEGER NOT NULL, -- Unix microseconds, as below
    expires_at INTEGER NOT NULL,
    opened_by  TEXT NOT NULL
) STRICT;

-- +goose Down
DROP TABLE enrolment_expected;
