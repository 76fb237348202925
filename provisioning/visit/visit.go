// Package visit remembers, for each phone of ours, the last whole file that it
// really fetched and the last of its requests that was refused, with the
// reason: what somebody asks first whose phone does not ring.
//
// A visit is noted in memory at once and written by Run every second, many in
// one transaction: 120 phones after a power cut do not wait for a disk. A crash
// forgets at most the last second. Only phones of the list are noted, so the
// book is as long as the list.
//
//	book, err := visit.Open(ctx, db, log)
//	book.Fetched("00:15:65:ab:cd:ef", visit.Delivery{At: now, Hash: hash})
//	v := book.Of("00:15:65:ab:cd:ef")
//
// A Book may be used from many goroutines at once.
package visit

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"linehall/internal/database"
	"linehall/internal/observe"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Schema is the table of visits.
func Schema() database.Schema { return database.Schema{Name: "visit", Files: migrations} }

// Delivery is a whole file that a phone got; the zero time means none.
type Delivery struct {
	At        time.Time
	File      string
	Hash      string // SHA-256 of its bytes, in hex
	Settings  string // digest of its settings, see plan.SettingsDigest
	Address   string
	UserAgent string
	Model     string // as the User-Agent has it; "" = it does not say
	Firmware  string
}

// Refusal is a request that did not get what it was for; the zero time means
// none.
type Refusal struct {
	At      time.Time
	File    string
	Address string
	Because Reason
}

// Reason says why a phone did not get its whole file.
type Reason string

// The reasons.
const (
	WindowClosed Reason = "window_closed" // not enrolled, and the window of its site is closed
	OtherSite    Reason = "other_site"    // asks from a subnet of another site than its row's
	Outside      Reason = "outside"       // asks from no subnet of ours
	WrongToken   Reason = "token"         // an old or foreign token in its address
	Mismatch     Reason = "mismatch"      // its User-Agent has another MAC address than the file
	Inactive     Reason = "inactive"      // its row is spare or disabled
	Unsupported  Reason = "unsupported"   // of a brand that we write no files for
	PlainOnly    Reason = "plain_only"    // cannot fetch by HTTPS and is not named in plain_secrets
	Broken       Reason = "error"         // its file could not be made; the log says why
)

// Reasons lists all of them.
func Reasons() []Reason {
	return []Reason{WindowClosed, OtherSite, Outside, WrongToken, Mismatch, Inactive, Unsupported, PlainOnly, Broken}
}

// Visit is what is known about a phone.
type Visit struct {
	Fetched Delivery
	Refused Refusal
}

// flushEvery is how old what is not yet written may be.
const flushEvery = time.Second

// Book keeps the visits.
type Book struct {
	db  *sql.DB
	log *slog.Logger

	mu     sync.Mutex // guards the maps
	visits map[string]Visit
	dirty  map[string]bool
}

// Open reads the table, which must be there (database.Migrate).
func Open(ctx context.Context, db *sql.DB, log *slog.Logger) (*Book, error) {
	b := &Book{db: db, log: log, visits: map[string]Visit{}, dirty: map[string]bool{}}
	if err := b.read(ctx); err != nil {
		return nil, fmt.Errorf("visits of phones: %w", database.Explain(err))
	}
	return b, nil
}

// Fetched notes that the phone got its whole file.
func (b *Book) Fetched(mac string, d Delivery) {
	b.note(mac, func(v *Visit) { v.Fetched = d })
}

// Refused notes that the phone did not get what it asked for.
func (b *Book) Refused(mac string, r Refusal) {
	b.note(mac, func(v *Visit) { v.Refused = r })
}

func (b *Book) note(mac string, change func(*Visit)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	v := b.visits[mac]
	change(&v)
	b.visits[mac] = v
	b.dirty[mac] = true
}

// Of returns what is known about a phone.
func (b *Book) Of(mac string) Visit {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.visits[mac]
}

// Run writes what was noted until ctx ends, and then the rest.
func (b *Book) Run(ctx context.Context) error {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := b.Flush(ctx); err != nil && ctx.Err() == nil {
				b.log.Error("visits of phones could not be written", observe.Err, err)
			}
		case <-ctx.Done():
			return errors.Join(ctx.Err(), b.Flush(context.WithoutCancel(ctx)))
		}
	}
}

// Flush writes what was noted since the last one.
func (b *Book) Flush(ctx context.Context) error {
	b.mu.Lock()
	notes := map[string]Visit{}
	for mac := range b.dirty {
		notes[mac] = b.visits[mac]
	}
	clear(b.dirty)
	b.mu.Unlock()
	if len(notes) == 0 {
		return nil
	}
	err := b.write(ctx, notes)
	if err != nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		for mac := range notes {
			b.dirty[mac] = true
		}
	}
	return err
}
