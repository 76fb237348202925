-- +goose Up
-- The last whole file that each phone fetched, and the last request of it that was refused. Times are Unix microseconds, 0 = never.
CREATE TABLE visits (
    mac             TEXT PRIMARY KEY,
    fetched_at      INTEGER NOT NULL,
    file            TEXT NOT NULL, -- name that it asked for
    hash            TEXT NOT NULL, -- SHA-256 of the bytes that it got
    settings        TEXT NOT NULL, -- digest of the settings in it, without secrets
    fetched_from    TEXT NOT NULL, -- address
    user_agent      TEXT NOT NULL,
    model           TEXT NOT NULL, -- as the User-Agent says
    firmware        TEXT NOT NULL,
    refused_at      INTEGER NOT NULL,
    refused_file    TEXT NOT NULL,
    refused_from    TEXT NOT NULL,
    refused_because TEXT NOT NULL
) STRICT;

-- +goose Down
DROP TABLE visits;
