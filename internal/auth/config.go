package auth

import (
	"net/netip"
	"time"

	"linehall/internal/setting"
)

// Config is the section "security": how people log in to the console, and what is done against those who guess passwords
// of phones.
type Config struct {
	PasswordMinLength int           `yaml:"password_min_length"` // characters
	Lockout           LockoutConfig `yaml:"lockout"`
	Session           SessionConfig `yaml:"session"`
	SIP               SIPGuard      `yaml:"sip"`
}

// SIPGuard shuts out sources that guess SIP passwords or scan for extensions.
type SIPGuard struct {
	Tries  int            `yaml:"tries"`   // failures within the window before a source is banned
	Window time.Duration  `yaml:"window"`  // in which they are counted
	Ban    time.Duration  `yaml:"ban"`     // the first one; each further one doubles it
	MaxBan time.Duration  `yaml:"max_ban"` // but not beyond this
	Allow  []netip.Prefix `yaml:"allow"`   // sources that are never banned
}

// LockoutConfig slows down guessing, per account and per source address.
type LockoutConfig struct {
	Attempts int           `yaml:"attempts"` // wrong passwords before the first wait
	Delay    time.Duration `yaml:"delay"`    // the first wait; each further failure doubles it
	MaxDelay time.Duration `yaml:"max_delay"`
}

// SessionConfig bounds the life of a console session.
type SessionConfig struct {
	Idle time.Duration `yaml:"idle"` // ends after this long without a request
	Life time.Duration `yaml:"life"` // ends at the latest
}

// DefaultConfig holds what applies when a key is absent.
func DefaultConfig() Config {
	return Config{
		PasswordMinLength: 10,
		Lockout:           LockoutConfig{Attempts: 5, Delay: time.Second, MaxDelay: 15 * time.Minute},
		Session:           SessionConfig{Idle: 30 * time.Minute, Life: 12 * time.Hour},
		SIP:               SIPGuard{Tries: 20, Window: 10 * time.Minute, Ban: 10 * time.Minute, MaxBan: 24 * time.Hour},
	}
}

// Validate reports every value out of range.
func (c Config) Validate() error {
	var found setting.Complaints
	if c.PasswordMinLength < 8 || c.PasswordMinLength > 64 {
		found.Add("password_min_length", "%d is not between 8 and 64 characters", c.PasswordMinLength)
	}
	if c.Lockout.Attempts < 1 || c.Lockout.Attempts > 100 {
		found.Add("lockout.attempts", "%d is not between 1 and 100", c.Lockout.Attempts)
	}
	found.Between("lockout.delay", c.Lockout.Delay, 100*time.Millisecond, time.Hour)
	found.Between("lockout.max_delay", c.Lockout.MaxDelay, c.Lockout.Delay, 24*time.Hour)
	found.Between("session.idle", c.Session.Idle, time.Minute, 24*time.Hour)
	found.Between("session.life", c.Session.Life, c.Session.Idle, 30*24*time.Hour)
	if c.SIP.Tries < 4 || c.SIP.Tries > 1000 {
		found.Add("sip.tries", "%d is not between 4 and 1000", c.SIP.Tries)
	}
	found.Between("sip.window", c.SIP.Window, 10*time.Second, 24*time.Hour)
	found.Between("sip.ban", c.SIP.Ban, time.Second, 24*time.Hour)
	found.Between("sip.max_ban", c.SIP.MaxBan, c.SIP.Ban, 30*24*time.Hour)
	for i, p := range c.SIP.Allow {
		if p != p.Masked() {
			found.Add(setting.Index("sip.allow", i), "%s has bits behind its length; did you mean %s?", p, p.Masked())
		}
	}
	return found.Err()
}
