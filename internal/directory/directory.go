// Package directory knows the terminals of terminals.csv and their SIP passwords.
//
// The rows come from the configuration by Apply; the directory adds what the configuration must not hold: a random
// password per extension, sealed at rest by internal/secret and kept when the row goes, so that a phone that comes back
// still registers. Lookups read an immutable snapshot through an atomic pointer: they never lock, never wait for the
// database and never see half of an Apply.
//
// It does not know where a phone is registered (sip/location) nor how its files look (provisioning).
//
//	dir, err := directory.Open(ctx, db, box)
//	err = dir.Apply(ctx, terminals)
//	t, ok := dir.ByExtension("8001")
//	password, err := dir.Password(ctx, "8001")
package directory

import (
	"context"
	"crypto/rand"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"linehall/internal/database"
	"linehall/internal/secret"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Schema is the directory's tables.
func Schema() database.Schema { return database.Schema{Name: "directory", Files: migrations} }

// ErrUnknown means that no terminal has that extension.
var ErrUnknown = errors.New("no such terminal")

const (
	// alphabet leaves out what people and small displays confuse: I, O, 0, 1 and l. All of it is unreserved in URIs,
	// XML, CSV and shell words.
	alphabet = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789"
	// passwordLength gives 20*log2(57) = 116 bits.
	passwordLength = 20
)

// Directory is safe for concurrent use.
type Directory struct {
	db    *sql.DB
	box   *secret.Box
	apply sync.Mutex // one Apply or SetPassword at a time; held over database work, never by lookups
	snap  atomic.Pointer[snapshot]
}

// snapshot is never written after it was published.
type snapshot struct {
	all       []Terminal
	byExt     map[string]int
	byUser    map[string]int
	byMAC     map[string]int
	passwords map[string]string // by extension
	next      map[string]string // those that wait for their phone, see rotate.go
	madeAt    map[string]time.Time
}

// Open returns a directory without terminals; Apply gives it the rows. Its tables must be there (database.Migrate).
func Open(ctx context.Context, db *sql.DB, box *secret.Box) (*Directory, error) {
	d := &Directory{db: db, box: box}
	var n int
	if err := db.QueryRowContext(ctx, "SELECT count(*) FROM directory_passwords").Scan(&n); err != nil {
		return nil, fmt.Errorf("directory: %w", database.Explain(err))
	}
	d.snap.Store(&snapshot{})
	return d, nil
}

// Apply replaces all rows, or none when it returns an error: a duplicate extension, auth user or MAC, a bad value, or a
// database that cannot be written. Extensions without a password get one.
func (d *Directory) Apply(ctx context.Context, terminals []Terminal) error {
	next, err := index(terminals)
	if err != nil {
		return fmt.Errorf("directory: %w", err)
	}
	d.apply.Lock()
	defer d.apply.Unlock()
	if err := d.ensurePasswords(ctx, next); err != nil {
		return fmt.Errorf("directory: %w", err)
	}
	d.snap.Store(next)
	return nil
}

func index(terminals []Terminal) (*snapshot, error) {
	s := &snapshot{byExt: map[string]int{}, byUser: map[string]int{}, byMAC: map[string]int{}}
	var errs []error
	claim := func(m map[string]int, key, what string, i int) {
		if key == "" {
			return
		}
		if other, taken := m[key]; taken {
			errs = append(errs, fmt.Errorf("%s %s is there twice (extensions %s and %s)",
				what, key, s.all[other].Extension, s.all[i].Extension))
			return
		}
		m[key] = i
	}
	for _, t := range terminals {
		t, err := t.normal()
		if err != nil {
			errs = append(errs, err)
			continue
		}
		s.all = append(s.all, t)
		i := len(s.all) - 1
		claim(s.byExt, t.Extension, "extension", i)
		claim(s.byUser, t.AuthUser, "auth user", i)
		claim(s.byMAC, t.MAC, "MAC", i)
	}
	return s, errors.Join(errs...)
}

// ensurePasswords opens the passwords of the extensions and creates the missing ones, in one transaction.
func (d *Directory) ensurePasswords(ctx context.Context, into *snapshot) (err error) {
	tx, err := d.db.BeginTx(ctx, nil)
	if err != nil {
		return database.Explain(err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(database.Explain(err), ignoreDone(tx.Rollback()))
		}
	}()
	if err := d.load(ctx, tx, into); err != nil {
		return err
	}
	if into.next, err = d.loadNext(ctx, tx, into.byExt); err != nil {
		return err
	}
	for ext := range into.byExt {
		if _, ok := into.passwords[ext]; ok {
			continue
		}
		password := NewPassword()
		if err := d.store(ctx, tx, ext, password); err != nil {
			return err
		}
		into.passwords[ext], into.madeAt[ext] = password, time.Now().Truncate(time.Second)
	}
	return tx.Commit()
}

func (d *Directory) load(ctx context.Context, tx *sql.Tx, into *snapshot) error {
	rows, err := tx.QueryContext(ctx, "SELECT extension, sealed, created_at FROM directory_passwords")
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // rows.Err tells
	into.passwords, into.madeAt = make(map[string]string, len(into.byExt)), make(map[string]time.Time, len(into.byExt))
	for rows.Next() {
		var (
			ext    string
			sealed []byte
			made   int64
		)
		if err := rows.Scan(&ext, &sealed, &made); err != nil {
			return err
		}
		if _, wanted := into.byExt[ext]; !wanted {
			continue
		}
		plain, err := d.box.Open(purpose(ext), sealed)
		if err != nil {
			return fmt.Errorf("password of %s: %w", ext, err)
		}
		into.passwords[ext], into.madeAt[ext] = string(plain), time.Unix(made, 0)
	}
	return rows.Err()
}

func (d *Directory) store(ctx context.Context, tx *sql.Tx, ext, password string) error {
	sealed, err := d.box.Seal(purpose(ext), []byte(password))
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO directory_passwords (extension, sealed, created_at) VALUES (?, ?, ?)
		ON CONFLICT (extension) DO UPDATE SET sealed = excluded.sealed, created_at = excluded.created_at`,
		ext, sealed, time.Now().Unix())
	return err
}

// RenewPassword gives the extension a new random password at once, for instance when its phone was lost: neither the
// present one nor one that waits is accepted any more.
func (d *Directory) RenewPassword(ctx context.Context, ext string) (string, error) {
	d.apply.Lock()
	defer d.apply.Unlock()
	now := d.snap.Load()
	if _, ok := now.byExt[ext]; !ok {
		return "", fmt.Errorf("password of %s: %w", ext, ErrUnknown)
	}
	password := NewPassword()
	if err := d.promote(ctx, ext, password); err != nil {
		return "", fmt.Errorf("password of %s: %w", ext, err)
	}
	next := *now
	next.passwords, next.next, next.madeAt = maps.Clone(now.passwords), maps.Clone(now.next), maps.Clone(now.madeAt)
	next.passwords[ext], next.madeAt[ext] = password, time.Now().Truncate(time.Second)
	delete(next.next, ext)
	d.snap.Store(&next)
	return password, nil
}

// ByExtension finds a row in any state.
func (d *Directory) ByExtension(ext string) (Terminal, bool) {
	s := d.snap.Load()
	return s.find(s.byExt, ext)
}

// ByAuthUser finds the row that authenticates as user. Rows that may not register are not found.
func (d *Directory) ByAuthUser(user string) (Terminal, bool) {
	s := d.snap.Load()
	t, ok := s.find(s.byUser, user)
	if !ok || !t.MayRegister() {
		return Terminal{}, false
	}
	return t, true
}

// ByMAC finds a row in any state; mac may be written in any usual form.
func (d *Directory) ByMAC(mac string) (Terminal, bool) {
	normal, err := NormalMAC(mac)
	if err != nil {
		return Terminal{}, false
	}
	s := d.snap.Load()
	return s.find(s.byMAC, normal)
}

// All returns every row in the order of the file; the slice is the caller's.
func (d *Directory) All() []Terminal { return slices.Clone(d.snap.Load().all) }

// Password returns the SIP password in clear. It reads memory only; ctx is there for stores that will not.
func (d *Directory) Password(_ context.Context, ext string) (string, error) {
	password, ok := d.snap.Load().passwords[ext]
	if !ok {
		return "", fmt.Errorf("password of %s: %w", ext, ErrUnknown)
	}
	return password, nil
}

func (s *snapshot) find(m map[string]int, key string) (Terminal, bool) {
	i, ok := m[key]
	if !ok || key == "" {
		return Terminal{}, false
	}
	return s.all[i], true
}

// NewPassword returns a random password of the safe alphabet.
func NewPassword() string {
	const unbiased = 256 - 256%len(alphabet) // bytes at or above would favour the first letters
	out := make([]byte, 0, passwordLength)
	var buf [2 * passwordLength]byte
	for len(out) < passwordLength {
		_, _ = rand.Read(buf[:]) // never fails (crypto/rand)
		for _, b := range buf {
			if int(b) < unbiased && len(out) < passwordLength {
				out = append(out, alphabet[int(b)%len(alphabet)])
			}
		}
	}
	return string(out)
}

// Spell writes random bytes as a password of the safe alphabet, a letter each. The first letters are a little likelier
// than the last: two thirds of a bit of the whole for 16 bytes.
func Spell(raw []byte) string {
	out := make([]byte, len(raw))
	for i, b := range raw {
		out[i] = alphabet[int(b)%len(alphabet)]
	}
	return string(out)
}

func purpose(ext string) string { return "sip password " + ext }

func ignoreDone(err error) error {
	if errors.Is(err, sql.ErrTxDone) {
		return nil
	}
	return err
}
