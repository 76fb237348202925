-- +goose Up
-- Users that do not exist are not counted apart any more.
UPDATE guard_bans SET reason = 'scan' WHERE reason = 'strangers';
