-- +goose Up
-- One SIP password per extension, sealed by internal/secret. A row outlives its terminal: a phone that comes back to
-- terminals.csv registers with the password it still has.
CREATE TABLE directory_passwords (
    extension  TEXT PRIMARY KEY,
    sealed     BLOB NOT NULL,
    created_at INTEGER NOT NULL -- Unix seconds
) STRICT;

-- +goose Down
DROP TABLE directory_passwords;
