package enrolment

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"linehall/internal/database"
	"linehall/internal/site"
)

// purpose binds a sealed token to its phone.
func purpose(mac string) string { return "provisioning token " + mac }

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}

func (b *Book) writeWindow(ctx context.Context, w Window) error {
	_, err := b.db.ExecContext(ctx, `INSERT INTO enrolment_windows (site, opened_at, expires_at, opened_by) VALUES (?, ?, ?, ?)
		ON CONFLICT (site) DO UPDATE SET opened_at = excluded.opened_at, expires_at = excluded.expires_at, opened_by = excluded.opened_by`,
		string(w.Site), micros(w.OpenedAt), micros(w.Until), w.OpenedBy)
	return err
}

func (b *Book) readWindows(ctx context.Context) (err error) {
	rows, err := b.db.QueryContext(ctx, "SELECT site, opened_at, expires_at, opened_by FROM enrolment_windows")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var id, by string
		var opened, until int64
		if err := rows.Scan(&id, &opened, &until, &by); err != nil {
			return err
		}
		b.windows[site.ID(id)] = Window{Site: site.ID(id), OpenedAt: fromMicros(opened), Until: fromMicros(until), OpenedBy: by}
	}
	return rows.Err()
}

func (b *Book) writeDevice(ctx context.Context, d Device) error {
	var sealed []byte
	if d.token != "" {
		var err error
		if sealed, err = b.box.Seal(purpose(d.MAC), []byte(d.token)); err != nil {
			return err
		}
	}
	_, err := b.db.ExecContext(ctx, `INSERT INTO enrolment_devices
		(mac, token, issued_at, enrolled_at, provisioned_at, address, user_agent) VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (mac) DO UPDATE SET token = excluded.token, issued_at = excluded.issued_at, enrolled_at = excluded.enrolled_at,
			provisioned_at = excluded.provisioned_at, address = excluded.address, user_agent = excluded.user_agent`,
		d.MAC, sealed, micros(d.IssuedAt), micros(d.EnrolledAt), micros(d.ProvisionedAt), d.Address, d.UserAgent)
	return database.Explain(err)
}

func (b *Book) readDevices(ctx context.Context) (err error) {
	rows, err := b.db.QueryContext(ctx,
		"SELECT mac, token, issued_at, enrolled_at, provisioned_at, address, user_agent FROM enrolment_devices")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var d Device
		var sealed []byte
		var issued, enrolled, provisioned int64
		if err := rows.Scan(&d.MAC, &sealed, &issued, &enrolled, &provisioned, &d.Address, &d.UserAgent); err != nil {
			return err
		}
		if sealed != nil {
			token, err := b.box.Open(purpose(d.MAC), sealed)
			if err != nil {
				return fmt.Errorf("token of %s: %w", d.MAC, err)
			}
			d.token = string(token)
		}
		d.IssuedAt, d.EnrolledAt, d.ProvisionedAt = fromMicros(issued), fromMicros(enrolled), fromMicros(provisioned)
		b.devices[d.MAC] = d
	}
	return rows.Err()
}

// Enrolled reads the MAC addresses of the phones that have used their token. It
// needs no key, so that a plan can be made beside a running appliance.
func Enrolled(ctx context.Context, db *sql.DB) (_ map[string]bool, err error) {
	enrolled := map[string]bool{}
	var tables int
	if err := db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema WHERE name = 'enrolment_devices'").Scan(&tables); err != nil || tables == 0 {
		return enrolled, database.Explain(err)
	}
	rows, err := db.QueryContext(ctx, "SELECT mac FROM enrolment_devices WHERE token IS NOT NULL AND enrolled_at > 0")
	if err != nil {
		return nil, fmt.Errorf("enrolled phones: %w", database.Explain(err))
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var mac string
		if err := rows.Scan(&mac); err != nil {
			return nil, fmt.Errorf("enrolled phones: %w", err)
		}
		enrolled[mac] = true
	}
	return enrolled, rows.Err()
}
