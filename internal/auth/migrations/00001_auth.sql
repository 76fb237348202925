-- +goose Up
CREATE TABLE auth_users (
    name       TEXT PRIMARY KEY,
    hash       TEXT NOT NULL,              -- argon2id, PHC string
    role       TEXT NOT NULL,
    site       TEXT NOT NULL DEFAULT '',   -- '' = all sites
    initial    INTEGER NOT NULL DEFAULT 0, -- 1 = the password in DATA/admin-password is still in use
    created_at INTEGER NOT NULL,           -- Unix seconds, as below
    changed_at INTEGER NOT NULL            -- of the password
) STRICT;
CREATE TABLE auth_tokens (
    id           TEXT PRIMARY KEY,
    name         TEXT NOT NULL,
    hash         BLOB NOT NULL UNIQUE,     -- SHA-256 of the token: it has 256 random bits, no salt needed
    role         TEXT NOT NULL,
    site         TEXT NOT NULL DEFAULT '',
    room         TEXT NOT NULL DEFAULT '', -- '' = no single room
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL DEFAULT 0, -- 0 = never
    last_used_at INTEGER NOT NULL DEFAULT 0  -- to the minute
) STRICT;
CREATE TABLE auth_devices (
    id           TEXT PRIMARY KEY,
    hash         BLOB NOT NULL UNIQUE,
    room         TEXT NOT NULL,
    venue        TEXT NOT NULL,
    site         TEXT NOT NULL DEFAULT '',
    created_at   INTEGER NOT NULL,
    last_used_at INTEGER NOT NULL DEFAULT 0
) STRICT;

-- +goose Down
DROP TABLE auth_devices;
DROP TABLE auth_tokens;
DROP TABLE auth_users;
