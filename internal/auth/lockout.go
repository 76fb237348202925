package auth

import (
	"net/netip"
	"strings"
	"sync"
	"time"
)

// How long wrong passwords lock out. The first failures are free, then each doubles the wait up to the limit.
//
// The pair of account and source locks first: a colleague's typing errors on another machine do not count. The account
// alone has more free attempts and a short limit, or anybody could keep the administrator out for good; the source
// alone stops the walk through many accounts.
const (
	wideFactor     = 4 // free attempts of an account or a source, in those of a pair
	maxAccountWait = 30 * time.Second

	forgetAfter = time.Hour // without a further failure
	maxTracked  = 4096      // entries; the one longest untouched goes first
)

// lockout counts failures in memory: a restart forgets them, which an attacker cannot cause.
type lockout struct {
	config  LockoutConfig
	mu      sync.Mutex // guards entries
	entries map[lockKey]*failures
}

type lockKey struct {
	kind            byte // p(air), a(ccount) or s(ource)
	account, source string
}

type failures struct {
	count  int
	last   time.Time
	locked time.Time // until
}

func newLockout(c LockoutConfig) *lockout {
	return &lockout{config: c, entries: map[lockKey]*failures{}}
}

type lockRule struct {
	key  lockKey
	free int
	max  time.Duration
}

func (l *lockout) rules(account, source string) []lockRule {
	account, source = strings.ToLower(account), network(source)
	c := l.config
	return []lockRule{
		{lockKey{'p', account, source}, c.Attempts, c.MaxDelay},
		{lockKey{'a', account, ""}, wideFactor * c.Attempts, min(maxAccountWait, c.MaxDelay)},
		{lockKey{'s', "", source}, wideFactor * c.Attempts, c.MaxDelay},
	}
}

// network widens an IPv6 source to its /64: one machine has all of it.
func network(source string) string {
	addr, err := netip.ParseAddr(source)
	if err != nil {
		return source
	}
	if addr = addr.Unmap().WithZone(""); addr.Is6() {
		if p, err := addr.Prefix(64); err == nil {
			return p.String()
		}
	}
	return addr.String()
}

// wait returns how long this account and source must still wait, 0 when they may try.
func (l *lockout) wait(account, source string, now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	var longest time.Duration
	for _, r := range l.rules(account, source) {
		if f, ok := l.entries[r.key]; ok {
			longest = max(longest, f.locked.Sub(now))
		}
	}
	return longest
}

// fail counts a wrong password.
func (l *lockout) fail(account, source string, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.rules(account, source) {
		f, ok := l.entries[r.key]
		if !ok || now.Sub(f.last) > forgetAfter {
			l.makeRoom(now)
			f = &failures{}
			l.entries[r.key] = f
		}
		f.count++
		f.last = now
		if over := f.count - r.free; over >= 0 {
			wait := r.max
			if over < 20 { // beyond that the shift would only reach the limit anyhow
				wait = min(r.max, l.config.Delay<<over)
			}
			f.locked = now.Add(wait)
		}
	}
}

// succeed forgets the failures of the pair; those of the source stay, or an attacker with one account could reset them.
func (l *lockout) succeed(account, source string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.rules(account, source)
	delete(l.entries, r[0].key)
}

func (l *lockout) makeRoom(now time.Time) {
	if len(l.entries) < maxTracked {
		return
	}
	var (
		oldest lockKey
		at     = now
	)
	for k, f := range l.entries {
		if now.Sub(f.last) > forgetAfter {
			delete(l.entries, k)
			continue
		}
		if !f.last.After(at) {
			oldest, at = k, f.last
		}
	}
	if len(l.entries) >= maxTracked {
		delete(l.entries, oldest)
	}
}
