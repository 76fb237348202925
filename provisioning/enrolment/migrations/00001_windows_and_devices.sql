-- +goose Up
-- An enrolment window of a site: until expires_at its phones may fetch their file with the password without a token.
CREATE TABLE enrolment_windows (
    site       TEXT PRIMARY KEY,
    opened_at  INTEGER NOT NULL, -- Unix microseconds, as below
    expires_at INTEGER NOT NULL,
    opened_by  TEXT NOT NULL
) STRICT;
-- What a phone was given and when it came for it.
CREATE TABLE enrolment_devices (
    mac            TEXT PRIMARY KEY,
    token          BLOB,                       -- sealed by internal/secret; NULL = revoked
    issued_at      INTEGER NOT NULL DEFAULT 0, -- of the token; 0 = never
    enrolled_at    INTEGER NOT NULL DEFAULT 0, -- first use of the token
    provisioned_at INTEGER NOT NULL DEFAULT 0, -- last delivery with secrets
    address        TEXT NOT NULL DEFAULT '',   -- of that delivery
    user_agent     TEXT NOT NULL DEFAULT ''
) STRICT;

-- +goose Down
DROP TABLE enrolment_devices;
DROP TABLE enrolment_windows;
