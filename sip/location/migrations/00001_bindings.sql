-- +goose Up
-- One row per binding: RFC 3261 section 10. Times are Unix milliseconds.
CREATE TABLE location_bindings (
    aor            TEXT    NOT NULL,
    position       INTEGER NOT NULL, -- order within the AOR, newest last
    contact        TEXT    NOT NULL, -- the URI, byte for byte as registered
    contact_params TEXT    NOT NULL, -- header parameters but expires, with their semicolons
    transport      TEXT    NOT NULL,
    local          TEXT    NOT NULL, -- our end of the flow
    remote         TEXT    NOT NULL, -- the phone's end
    path           TEXT    NOT NULL, -- RFC 3327, one URI per line
    expires_ms     INTEGER NOT NULL,
    since_ms       INTEGER NOT NULL,
    instance       TEXT    NOT NULL,
    reg_id         TEXT    NOT NULL,
    call_id        TEXT    NOT NULL,
    cseq           INTEGER NOT NULL,
    q              INTEGER NOT NULL, -- thousandths
    user_agent     TEXT    NOT NULL,
    site           TEXT    NOT NULL,
    PRIMARY KEY (aor, position)
) WITHOUT ROWID;

-- +goose Down
DROP TABLE location_bindings;
