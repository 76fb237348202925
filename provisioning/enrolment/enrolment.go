// Package enrolment decides which phone may have its secrets.
//
// A MAC address is printed on the box and easy to guess, so it proves nothing.
// What lets a phone in is a window: an admin opens it for one site and some
// minutes, and phones of that site that ask in that time get a token of their
// own. From then on the token is what counts: it goes into the address that
// the phone asks next time, and works without a window until it is revoked.
//
//	closed --OpenWindow--> open --Token--> token issued --Admit--> enrolled
//	                        ^                                          |
//	                        +------- next window: a new token <-------+
//
// Within one window the token stays the same until it was used once, so that
// an answer that got lost does not lock the phone out; after the first use the
// window is over for that phone. Windows and tokens survive a restart; tokens
// are sealed at rest.
//
// A Book may be used from many goroutines at once.
//
//	book, err := enrolment.Open(ctx, db, box, time.Now)
//	window, err := book.OpenWindow(ctx, "branch1", 30*time.Minute, "admin")
//	token, err := book.Token(ctx, "00:15:65:ab:cd:ef", "branch1")
package enrolment

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"linehall/internal/database"
	"linehall/internal/secret"
	"linehall/internal/site"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Schema is the tables of windows and devices.
func Schema() database.Schema { return database.Schema{Name: "enrolment", Files: migrations} }

// ErrClosed means that no window is open for the phone.
var ErrClosed = errors.New("no enrolment window is open")

// Window lets the phones of a site enrol.
type Window struct {
	Site     site.ID
	OpenedAt time.Time
	Until    time.Time
	OpenedBy string
}

// Device is what is known about a phone's enrolment; times are zero when the
// thing never happened.
type Device struct {
	MAC           string
	IssuedAt      time.Time
	EnrolledAt    time.Time // when it first came back with its token
	ProvisionedAt time.Time // last delivery with secrets
	Address       string    // of that delivery
	UserAgent     string

	token string // "" = none
}

// Enrolled reports whether the phone has a token and used it.
func (d Device) Enrolled() bool { return d.token != "" && !d.EnrolledAt.IsZero() }

// Book keeps windows and devices.
type Book struct {
	db  *sql.DB
	box *secret.Box
	now func() time.Time

	mu       sync.Mutex // guards the maps; held over database writes, so that both agree
	windows  map[site.ID]Window
	expected map[string]Window // of phones that somebody has named
	devices  map[string]Device
}

// Open reads the tables, which must be there (database.Migrate).
func Open(ctx context.Context, db *sql.DB, box *secret.Box, now func() time.Time) (*Book, error) {
	b := &Book{db: db, box: box, now: now, windows: map[site.ID]Window{}, expected: map[string]Window{}, devices: map[string]Device{}}
	if err := errors.Join(b.readWindows(ctx), b.readExpected(ctx), b.readDevices(ctx)); err != nil {
		return nil, fmt.Errorf("enrolment: %w", database.Explain(err))
	}
	return b, nil
}

// OpenWindow opens, or prolongs, the window of a site.
func (b *Book) OpenWindow(ctx context.Context, id site.ID, duration time.Duration, by string) (Window, error) {
	if id == "" || duration <= 0 {
		return Window{}, fmt.Errorf("enrolment window of site %q for %s: need a site and a time", id, duration)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	at := b.now().UTC().Truncate(time.Microsecond)
	window := Window{Site: id, OpenedAt: at, Until: at.Add(duration), OpenedBy: by}
	if err := b.writeWindow(ctx, window); err != nil {
		return Window{}, fmt.Errorf("enrolment window of site %s: %w", id, database.Explain(err))
	}
	b.windows[id] = window
	return window, nil
}

// CloseWindow closes the window of a site; closing a closed one is fine.
func (b *Book) CloseWindow(ctx context.Context, id site.ID) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, err := b.db.ExecContext(ctx, "DELETE FROM enrolment_windows WHERE site = ?", string(id)); err != nil {
		return fmt.Errorf("enrolment window of site %s: %w", id, database.Explain(err))
	}
	delete(b.windows, id)
	return nil
}

// Windows lists the open windows by site.
func (b *Book) Windows() []Window {
	b.mu.Lock()
	defer b.mu.Unlock()
	var open []Window
	for _, w := range b.windows {
		if b.now().Before(w.Until) {
			open = append(open, w)
		}
	}
	slices.SortFunc(open, func(a, c Window) int { return strings.Compare(string(a.Site), string(c.Site)) })
	return open
}

// Token returns the token of a phone that asks from its site while the window
// is open. ErrClosed means that it is not, or that the phone has enrolled in
// this window already.
func (b *Book) Token(ctx context.Context, mac string, id site.ID) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	ofSite, there := b.windows[id]
	window, ok := b.open(mac, ofSite, there)
	if !ok {
		return "", ErrClosed
	}
	device := b.devices[mac]
	if device.token != "" && !device.IssuedAt.Before(window.OpenedAt) {
		if !device.EnrolledAt.IsZero() {
			return "", ErrClosed
		}
		return device.token, nil
	}
	device.MAC, device.token = mac, strings.ToLower(rand.Text())
	device.IssuedAt, device.EnrolledAt = b.now().UTC().Truncate(time.Microsecond), time.Time{}
	if err := b.writeDevice(ctx, device); err != nil {
		return "", fmt.Errorf("enrolment of %s: %w", mac, err)
	}
	b.devices[mac] = device
	return device.token, nil
}

// Admission is what a token is worth.
type Admission uint8

// The admissions.
const (
	Refused  Admission = iota
	FirstUse           // this completes the enrolment
	Again
)

// Admit says whether token is the phone's.
func (b *Book) Admit(ctx context.Context, mac, token string) (Admission, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	device := b.devices[mac]
	same := subtle.ConstantTimeCompare([]byte(device.token), []byte(strings.ToLower(token))) == 1
	if !same || device.token == "" {
		return Refused, nil
	}
	if !device.EnrolledAt.IsZero() {
		return Again, nil
	}
	device.EnrolledAt = b.now().UTC().Truncate(time.Microsecond)
	if err := b.writeDevice(ctx, device); err != nil {
		return Refused, fmt.Errorf("enrolment of %s: %w", mac, err)
	}
	b.devices[mac] = device
	return FirstUse, nil
}

// Delivered records that the phone got its file with secrets.
func (b *Book) Delivered(ctx context.Context, mac, address, userAgent string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	device := b.devices[mac]
	device.MAC, device.Address, device.UserAgent = mac, address, userAgent
	device.ProvisionedAt = b.now().UTC().Truncate(time.Microsecond)
	if err := b.writeDevice(ctx, device); err != nil {
		return fmt.Errorf("enrolment of %s: %w", mac, err)
	}
	b.devices[mac] = device
	return nil
}

// Revoke takes the phone's token away: it has to enrol again.
func (b *Book) Revoke(ctx context.Context, mac string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	device, known := b.devices[mac]
	if !known {
		return nil
	}
	device.token, device.IssuedAt, device.EnrolledAt = "", time.Time{}, time.Time{}
	if err := b.writeDevice(ctx, device); err != nil {
		return fmt.Errorf("revoking %s: %w", mac, err)
	}
	b.devices[mac] = device
	return nil
}

// Device returns what is known about a phone.
func (b *Book) Device(mac string) (Device, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	device, ok := b.devices[mac]
	return device, ok
}

// Holder is the phone that a token was given to and that has used it. It takes
// as long for a wrong token as for a right one.
func (b *Book) Holder(token string) (mac string, ok bool) {
	token = strings.ToLower(token)
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, device := range b.devices {
		if device.Enrolled() && subtle.ConstantTimeCompare([]byte(device.token), []byte(token)) == 1 {
			mac, ok = device.MAC, true
		}
	}
	return mac, ok
}
