-- +goose Up
-- The password that follows an extension's present one: its phone is given it, and once it has registered with it, it is
-- the present one. Until then both are accepted.
CREATE TABLE directory_next_passwords (
    extension  TEXT PRIMARY KEY,
    sealed     BLOB NOT NULL,
    created_at INTEGER NOT NULL -- Unix seconds
) STRICT;

-- +goose Down
DROP TABLE directory_next_passwords;
