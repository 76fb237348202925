package auth

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"linehall/internal/database"
	"linehall/internal/site"
)

// Device is the right of a venue's computer to enter one room: what is behind a room link.
type Device struct {
	ID         string
	Room       string
	Venue      string
	Site       site.ID
	CreatedAt  time.Time
	LastUsedAt time.Time // to the minute; zero = never used
}

func (d Device) principal() Principal {
	return Principal{
		Kind: KindDevice, Name: "device " + d.ID, ID: d.ID, Role: Room,
		Site: d.Site, Room: d.Room, Venue: d.Venue,
	}
}

// NewDevice makes the right and returns its secret, which is shown this once (in the link). Errors: ErrInvalid.
func (s *Service) NewDevice(ctx context.Context, room, venue string, at site.ID) (Device, string, error) {
	if room == "" || venue == "" {
		return Device{}, "", fmt.Errorf("device: %w: it needs a room and a venue", ErrInvalid)
	}
	d := Device{ID: newID(), Room: room, Venue: venue, Site: at, CreatedAt: time.Now().UTC().Truncate(time.Second)}
	plain := devicePrefix + newSecret(secretBytes)
	n, err := s.exec(ctx, `INSERT INTO auth_devices (id, hash, room, venue, site, created_at)
		SELECT ?, ?, ?, ?, ?, ? WHERE (SELECT count(*) FROM auth_devices) < ?`,
		d.ID, digest(plain), d.Room, d.Venue, d.Site, unix(d.CreatedAt), maxDevices)
	if err == nil && n == 0 {
		err = fmt.Errorf("%w: there are %d device links already; revoke some", ErrInvalid, maxDevices)
	}
	if err != nil {
		return Device{}, "", fmt.Errorf("device of venue %s: %w", venue, err)
	}
	return d, plain, nil
}

const selectDevices = "SELECT id, room, venue, site, created_at, last_used_at FROM auth_devices"

func scanDevice(scan func(...any) error) (d Device, err error) {
	var created, used int64
	err = scan(&d.ID, &d.Room, &d.Venue, &d.Site, &created, &used)
	d.CreatedAt, d.LastUsedAt = fromUnix(created), fromUnix(used)
	return d, err
}

// ListDevices returns all device links of a room, or of all rooms when room is "".
func (s *Service) ListDevices(ctx context.Context, room string) ([]Device, error) {
	rows, err := s.db.QueryContext(ctx, selectDevices+" WHERE ?1 = '' OR room = ?1 ORDER BY room, venue, created_at, id", room)
	if err != nil {
		return nil, fmt.Errorf("devices: %w", database.Explain(err))
	}
	defer func() { _ = rows.Close() }() // rows.Err tells
	devices := []Device{}
	for rows.Next() {
		d, err := scanDevice(rows.Scan)
		if err != nil {
			return nil, fmt.Errorf("devices: %w", err)
		}
		devices = append(devices, d)
	}
	return devices, database.Explain(rows.Err())
}

// Device returns whom a device token stands for. Errors: ErrRefused.
func (s *Service) Device(ctx context.Context, token string) (Principal, error) {
	if len(token) > maxSecret || !strings.HasPrefix(token, devicePrefix) {
		return Principal{}, ErrRefused
	}
	d, err := scanDevice(s.db.QueryRowContext(ctx, selectDevices+" WHERE hash = ?", digest(token)).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return Principal{}, ErrRefused
	}
	if err != nil {
		return Principal{}, fmt.Errorf("device token: %w", database.Explain(err))
	}
	if now := time.Now(); now.Sub(d.LastUsedAt) > time.Minute {
		s.touch(ctx, "UPDATE auth_devices SET last_used_at = ? WHERE id = ?", d.ID, now)
	}
	return d.principal(), nil
}

// DevicePrincipal returns what the device with that id may do now: a session asks again at each request, so that a
// revoked link counts at once. Errors: ErrNotFound.
func (s *Service) DevicePrincipal(ctx context.Context, id string) (Principal, error) {
	d, err := scanDevice(s.db.QueryRowContext(ctx, selectDevices+" WHERE id = ?", id).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return Principal{}, fmt.Errorf("device %q: %w", id, ErrNotFound)
	}
	if err != nil {
		return Principal{}, fmt.Errorf("device %q: %w", id, database.Explain(err))
	}
	return d.principal(), nil
}

// RevokeDevice ends a device link. Errors: ErrNotFound.
func (s *Service) RevokeDevice(ctx context.Context, id string) error {
	return s.revoke(ctx, "device", "DELETE FROM auth_devices WHERE id = ?", id)
}
