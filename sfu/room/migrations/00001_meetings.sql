-- +goose Up
-- A meeting of a room: its order (sfu/chair) as JSON, so that chair and floor outlive the process, and its minutes.
CREATE TABLE room_meetings (
    id         TEXT    PRIMARY KEY,
    room       TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    started_at INTEGER NOT NULL, -- milliseconds since 1970
    alive_at   INTEGER NOT NULL, -- when it was last known to go on
    ended_at   INTEGER,          -- null: it goes on
    state      TEXT    NOT NULL
) WITHOUT ROWID;
CREATE INDEX room_meetings_by_room ON room_meetings (room, started_at);

CREATE TABLE room_minutes (
    id        INTEGER PRIMARY KEY,
    meeting   TEXT    NOT NULL,
    at        INTEGER NOT NULL,
    actor     TEXT    NOT NULL, -- member; '' = the system
    actor_zh  TEXT    NOT NULL,
    actor_en  TEXT    NOT NULL,
    action    TEXT    NOT NULL,
    target    TEXT    NOT NULL,
    target_zh TEXT    NOT NULL,
    target_en TEXT    NOT NULL,
    detail    TEXT    NOT NULL
);
CREATE INDEX room_minutes_by_meeting ON room_minutes (meeting, id);
