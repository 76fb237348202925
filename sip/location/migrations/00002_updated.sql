-- +goose Up
-- When a binding was last refreshed, Unix milliseconds; 0: before this was kept.
ALTER TABLE location_bindings ADD COLUMN updated_ms INTEGER NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE location_bindings DROP COLUMN updated_ms;
