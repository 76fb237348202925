package directory

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"time"

	"linehall/internal/database"
)

// A password is rotated in two steps, each of them one transaction, so that a crash at any point leaves a phone that can
// register: Rotate makes the next password, which the phone's file has from then on while both are accepted; Confirm, when
// the phone has registered with the next one, makes it the present one and ends the old.

// nextPurpose binds a sealed next password to its extension.
func nextPurpose(ext string) string { return "next sip password " + ext }

// Rotate makes the next password of an extension. One that waits already stays: whoever was interrupted may ask again.
// It reports whether it made one.
func (d *Directory) Rotate(ctx context.Context, ext string) (bool, error) {
	d.apply.Lock()
	defer d.apply.Unlock()
	now := d.snap.Load()
	if _, ok := now.byExt[ext]; !ok {
		return false, fmt.Errorf("next password of %s: %w", ext, ErrUnknown)
	}
	if _, waits := now.next[ext]; waits {
		return false, nil
	}
	password := NewPassword()
	sealed, err := d.box.Seal(nextPurpose(ext), []byte(password))
	if err != nil {
		return false, fmt.Errorf("next password of %s: %w", ext, err)
	}
	if _, err := d.db.ExecContext(ctx, "INSERT OR REPLACE INTO directory_next_passwords (extension, sealed, created_at) VALUES (?, ?, ?)",
		ext, sealed, time.Now().Unix()); err != nil {
		return false, fmt.Errorf("next password of %s: %w", ext, database.Explain(err))
	}
	next := *now
	next.next = maps.Clone(now.next)
	next.next[ext] = password
	d.snap.Store(&next)
	return true, nil
}

// Next returns the password that follows the present one, if one waits. It reads memory only.
func (d *Directory) Next(ext string) (string, bool) {
	password, waits := d.snap.Load().next[ext]
	return password, waits
}

// Newest is what the phone's file has: the next password if one waits, else the present one.
func (d *Directory) Newest(ctx context.Context, ext string) (string, error) {
	if password, waits := d.Next(ext); waits {
		return password, nil
	}
	return d.Password(ctx, ext)
}

// MadeAt is when the present password was made, to the second; the zero time for an extension without one.
func (d *Directory) MadeAt(ext string) time.Time { return d.snap.Load().madeAt[ext] }

// Confirm makes the next password the present one, after the phone has used it. Without one there is nothing to do.
func (d *Directory) Confirm(ctx context.Context, ext string) error {
	d.apply.Lock()
	defer d.apply.Unlock()
	now := d.snap.Load()
	password, waits := now.next[ext]
	if !waits {
		return nil
	}
	if err := d.promote(ctx, ext, password); err != nil {
		return fmt.Errorf("new password of %s: %w", ext, err)
	}
	next := *now
	next.passwords, next.next, next.madeAt = maps.Clone(now.passwords), maps.Clone(now.next), maps.Clone(now.madeAt)
	next.passwords[ext], next.madeAt[ext] = password, time.Now().Truncate(time.Second)
	delete(next.next, ext)
	d.snap.Store(&next)
	return nil
}

// promote writes the password as the present one and forgets that it was the next.
func (d *Directory) promote(ctx context.Context, ext, password string) error {
	tx, err := d.db.BeginTx(ctx, nil)
	if err != nil {
		return database.Explain(err)
	}
	if err = d.store(ctx, tx, ext, password); err == nil {
		_, err = tx.ExecContext(ctx, "DELETE FROM directory_next_passwords WHERE extension = ?", ext)
	}
	if err == nil {
		err = tx.Commit()
	}
	if err != nil {
		return errors.Join(database.Explain(err), ignoreDone(tx.Rollback()))
	}
	return nil
}

// loadNext reads the next passwords of the extensions.
func (d *Directory) loadNext(ctx context.Context, tx *sql.Tx, extensions map[string]int) (_ map[string]string, err error) {
	rows, err := tx.QueryContext(ctx, "SELECT extension, sealed FROM directory_next_passwords")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	waiting := map[string]string{}
	for rows.Next() {
		var ext string
		var sealed []byte
		if err := rows.Scan(&ext, &sealed); err != nil {
			return nil, err
		}
		if _, wanted := extensions[ext]; !wanted {
			continue
		}
		plain, err := d.box.Open(nextPurpose(ext), sealed)
		if err != nil {
			return nil, fmt.Errorf("next password of %s: %w", ext, err)
		}
		waiting[ext] = string(plain)
	}
	return waiting, rows.Err()
}

// Age is what is known about a password without opening it.
type Age struct {
	MadeAt time.Time
	Waits  bool // another one waits for its phone
}

// Ages reads the ages of all passwords by extension. It needs no key, so that a plan can be made beside a running
// appliance; in a database of before there were two steps nothing waits.
func Ages(ctx context.Context, db *sql.DB) (_ map[string]Age, err error) {
	ages := map[string]Age{}
	var tables int
	if err := db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema WHERE name IN ('directory_passwords', 'directory_next_passwords')").Scan(&tables); err != nil || tables < 2 {
		return ages, database.Explain(err)
	}
	rows, err := db.QueryContext(ctx, `SELECT p.extension, p.created_at, n.extension IS NOT NULL
		FROM directory_passwords p LEFT JOIN directory_next_passwords n ON n.extension = p.extension`)
	if err != nil {
		return nil, fmt.Errorf("ages of passwords: %w", database.Explain(err))
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var ext string
		var made int64
		var age Age
		if err := rows.Scan(&ext, &made, &age.Waits); err != nil {
			return nil, fmt.Errorf("ages of passwords: %w", err)
		}
		age.MadeAt = time.Unix(made, 0)
		ages[ext] = age
	}
	return ages, rows.Err()
}
