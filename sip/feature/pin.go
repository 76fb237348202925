package feature

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"linehall/internal/setting"
)

// A PIN has few digits, so the lock-out is what protects it: wrong tries lock the desk where they
// are made, and, with more patience, the extension that they are about, or anybody could keep a
// colleague away. Each further one doubles the wait. With these numbers the ten thousand PINs of
// four digits take a year from one desk.
const (
	minPIN, maxPIN = 4, 10
	freeAtDesk     = 4
	freeOfGuest    = 20
	firstWait      = time.Minute
	longestWait    = time.Hour
	forgetAfter    = 24 * time.Hour
	maxLocks       = 4096 // far more than extensions; the one longest untouched goes first
)

// SetPIN sets an extension's PIN for hot desking; "" takes it away, and with it the stay. Whoever
// calls it records it before.
func (s *Service) SetPIN(ctx context.Context, extension, pin string) error {
	if _, known := s.o.Directory.ByExtension(extension); !known || extension == "" {
		return fmt.Errorf("PIN of %q: %w", extension, ErrUnknown)
	}
	hash := ""
	if pin != "" {
		if err := checkPIN(extension, pin); err != nil {
			return err
		}
		var err error
		if hash, err = s.o.Hasher.Hash(ctx, pin); err != nil {
			return fmt.Errorf("PIN of %s: %w", extension, err)
		}
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.store.savePIN(ctx, extension, hash, time.Now()); err != nil {
		return fmt.Errorf("PIN of %s: %w: %w", extension, ErrStore, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if hash == "" {
		delete(s.pins, extension)
	} else {
		s.pins[extension] = hash
	}
	s.locks.forget("guest " + extension)
	return nil
}

// HasPIN reports whether an extension may log in at other desks.
func (s *Service) HasPIN(extension string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.pins[extension] != ""
}

const rising, falling = "01234567890", "09876543210"

// checkPIN refuses what everybody would try first.
func checkPIN(extension, pin string) error {
	var found setting.Complaints
	switch {
	case len(pin) < minPIN || len(pin) > maxPIN || strings.Trim(pin, "0123456789") != "":
		found.Add("pin", "a PIN has %d to %d digits", minPIN, maxPIN)
	case pin == extension:
		found.Add("pin", "the extension's own number is no PIN")
	case strings.Count(pin, pin[:1]) == len(pin), strings.Contains(rising, pin), strings.Contains(falling, pin):
		found.Add("pin", "everybody would try this PIN first")
	}
	return found.Err()
}

// verifyPIN checks a PIN that was entered at a desk. It takes the same time, and says the same,
// whether the extension exists, has a PIN, or not.
func (s *Service) verifyPIN(ctx context.Context, desk, guest, pin string) error {
	now := time.Now()
	keys := []string{"desk " + desk, "guest " + guest}
	s.mu.Lock()
	locked := s.locks.locked(now, keys...)
	hash := s.pins[guest]
	s.mu.Unlock()
	if locked {
		return ErrLocked
	}
	fits, err := s.o.Hasher.Fits(ctx, hash, pin)
	if err != nil {
		return fmt.Errorf("PIN of %s: %w", guest, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if fits {
		// The desk's failures stay, or somebody could clear them with a PIN of their own.
		s.locks.forget(keys[1])
		return nil
	}
	s.locks.fail(keys[0], freeAtDesk, now)
	s.locks.fail(keys[1], freeOfGuest, now)
	s.log.Warn("wrong PIN at a desk", slog.String("extension", desk))
	return ErrPIN
}

// lockout counts wrong PINs in memory: a restart forgets them, which nobody at a phone can cause.
type lockout map[string]*failures

type failures struct {
	count  int
	last   time.Time
	locked time.Time // until
}

func newLockout() lockout { return lockout{} }

func (l lockout) locked(now time.Time, keys ...string) bool {
	for _, key := range keys {
		if f := l[key]; f != nil && f.locked.After(now) {
			return true
		}
	}
	return false
}

func (l lockout) fail(key string, free int, now time.Time) {
	f := l[key]
	if f == nil || now.Sub(f.last) > forgetAfter {
		l.makeRoom()
		f = &failures{}
		l[key] = f
	}
	f.count++
	f.last = now
	if over := f.count - free; over > 0 {
		f.locked = now.Add(min(longestWait, firstWait<<min(over-1, 10)))
	}
}

func (l lockout) forget(key string) { delete(l, key) }

func (l lockout) makeRoom() {
	if len(l) < maxLocks {
		return
	}
	var oldest string
	for key, f := range l {
		if oldest == "" || f.last.Before(l[oldest].last) {
			oldest = key
		}
	}
	delete(l, oldest)
}
