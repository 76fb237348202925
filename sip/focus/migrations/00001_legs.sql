-- +goose Up
CREATE TABLE focus_legs (
    id    TEXT PRIMARY KEY, -- Call-ID and our tag
    state TEXT NOT NULL     -- JSON
);
