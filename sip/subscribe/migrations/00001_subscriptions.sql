-- +goose Up
-- One row per subscription (RFC 6665), named by its dialog. The state is JSON, see store.go.
CREATE TABLE subscriptions (
    call_id   TEXT NOT NULL,
    local_tag TEXT NOT NULL,
    state     TEXT NOT NULL,
    PRIMARY KEY (call_id, local_tag)
) WITHOUT ROWID;

-- +goose Down
DROP TABLE subscriptions;
