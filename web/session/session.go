// Package session recognises who makes a web request: cookies of people who logged in and of venues that came through a
// room link, bearer tokens of machines, and the unix socket.
//
// Cookies are Secure and HttpOnly and hold 256 random bits; the session itself lies in SQLite under the cookie's SHA-256
// and ends after idle time, at an absolute age, at log-out, and when its user, password or device link is gone: who it
// stands for is asked again at each request. Handler adds what every response needs: the content security policy and its
// like, the check against cross-origin requests, a limit on bodies. Passwords, tokens and lock-out are internal/auth's.
//
// A Manager may be used from many goroutines at once. Run removes what has expired.
//
//	sessions, err := session.Open(ctx, db, users, session.Options{Config: config.Session, Log: log})
//	group.Go(func() error { return sessions.Run(ctx) })
//	server.Handler = sessions.Handler(mux)       // HTTPS
//	local.Handler = session.Local(mux)           // unix socket
package session

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"embed"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"linehall/internal/auth"
	"linehall/internal/database"
	"linehall/internal/observe"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Schema is the sessions' table.
func Schema() database.Schema { return database.Schema{Name: "session", Files: migrations} }

// The cookies. A room link is opened from elsewhere (a mail, a bookmark), so its cookie is SameSite=Lax; the console's is
// Strict.
const (
	UserCookie   = "linehall_session"
	DeviceCookie = "linehall_device"
)

const (
	deviceLife    = 400 * 24 * time.Hour // browsers keep no cookie longer (RFC 6265bis §5.5); each use renews it
	secretBytes   = 32
	maxCookie     = 64 // characters of a value that are looked at
	perSubject    = 20 // sessions of one user or device; the oldest ends first
	maxSessions   = 20000
	touchInterval = time.Minute
	sweepInterval = 10 * time.Minute
)

// ErrEnded means that a session has expired, was logged out, or that its user or device is gone.
var ErrEnded = errors.New("the session has ended")

// Options are the parts a Manager may be given.
type Options struct {
	Config  auth.SessionConfig // the zero value means auth.DefaultConfig().Session
	Log     *slog.Logger       // nil = silent
	Dropped *observe.Dropped   // requests refused before they reach a handler
}

// Manager holds the sessions.
type Manager struct {
	db    *sql.DB
	users *auth.Service
	opts  Options
}

// Open returns the manager on db, whose tables must be there (database.Migrate).
func Open(ctx context.Context, db *sql.DB, users *auth.Service, opts Options) (*Manager, error) {
	if opts.Config == (auth.SessionConfig{}) {
		opts.Config = auth.DefaultConfig().Session
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	m := &Manager{db: db, users: users, opts: opts}
	if err := m.sweep(ctx); err != nil {
		return nil, fmt.Errorf("sessions: %w", err)
	}
	return m, nil
}

// Run removes expired sessions until ctx ends.
func (m *Manager) Run(ctx context.Context) error {
	tick := time.NewTicker(sweepInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := m.sweep(ctx); err != nil && ctx.Err() == nil {
				m.opts.Log.Warn("expired sessions not removed", slog.Any(observe.Err, err))
			}
		}
	}
}

func (m *Manager) sweep(ctx context.Context) error {
	now := time.Now()
	_, err := m.db.ExecContext(ctx, "DELETE FROM web_sessions WHERE expires_at <= ? OR kind = ? AND seen_at <= ?",
		now.Unix(), auth.KindUser, now.Add(-m.opts.Config.Idle).Unix())
	return database.Explain(err)
}

// Login checks name and password and returns the cookie of a new session. Errors are those of auth.Service.Login.
func (m *Manager) Login(ctx context.Context, user, password, source string) (http.Cookie, auth.Principal, error) {
	p, err := m.users.Login(ctx, user, password, source)
	if err != nil {
		return http.Cookie{}, auth.Principal{}, err
	}
	value, err := m.create(ctx, auth.KindUser, p.Name, source, m.opts.Config.Life)
	if err != nil {
		return http.Cookie{}, auth.Principal{}, err
	}
	return http.Cookie{
		Name: UserCookie, Value: value, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode,
		MaxAge: int(m.opts.Config.Life / time.Second),
	}, p, nil
}

// EnterDevice exchanges a venue's token for a cookie. Errors: auth.ErrRefused, also when the token is another room's or
// venue's.
func (m *Manager) EnterDevice(ctx context.Context, room, venue, token, source string) (http.Cookie, auth.Principal, error) {
	p, err := m.users.Device(ctx, token)
	if err != nil {
		return http.Cookie{}, auth.Principal{}, err
	}
	if p.Room != room || p.Venue != venue {
		return http.Cookie{}, auth.Principal{}, auth.ErrRefused
	}
	value, err := m.create(ctx, auth.KindDevice, p.ID, source, deviceLife)
	if err != nil {
		return http.Cookie{}, auth.Principal{}, err
	}
	return http.Cookie{
		Name: DeviceCookie, Value: value, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
		MaxAge: int(deviceLife / time.Second),
	}, p, nil
}

// Logout ends the session of a cookie value and returns the cookie that removes it; an unknown value is fine.
func (m *Manager) Logout(ctx context.Context, value string) (http.Cookie, error) {
	gone := http.Cookie{
		Name: UserCookie, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode, MaxAge: -1,
	}
	if _, err := m.db.ExecContext(ctx, "DELETE FROM web_sessions WHERE hash = ?", digest(value)); err != nil {
		return gone, fmt.Errorf("log-out: %w", database.Explain(err))
	}
	return gone, nil
}

func (m *Manager) create(ctx context.Context, kind auth.Kind, subject, source string, life time.Duration) (value string, err error) {
	secret := make([]byte, secretBytes)
	_, _ = rand.Read(secret) // never fails (crypto/rand)
	value = base64.RawURLEncoding.EncodeToString(secret)
	now := time.Now()

	tx, err := m.db.BeginTx(ctx, nil)
	if err != nil {
		return "", fmt.Errorf("session: %w", database.Explain(err))
	}
	defer func() {
		if err != nil {
			_ = tx.Rollback() // the first error tells
			err = fmt.Errorf("session: %w", database.Explain(err))
		}
	}()
	_, err = tx.ExecContext(ctx, `DELETE FROM web_sessions WHERE hash IN
		(SELECT hash FROM web_sessions WHERE kind = ? AND subject = ? ORDER BY created_at DESC, rowid DESC LIMIT -1 OFFSET ?)`,
		kind, subject, perSubject-1)
	if err != nil {
		return "", err
	}
	result, err := tx.ExecContext(ctx, `INSERT INTO web_sessions (hash, kind, subject, source, created_at, seen_at, expires_at)
		SELECT ?, ?, ?, ?, ?, ?, ? WHERE (SELECT count(*) FROM web_sessions) < ?`,
		digest(value), kind, subject, source, now.Unix(), now.Unix(), now.Add(life).Unix(), maxSessions)
	if err != nil {
		return "", err
	}
	if n, err := result.RowsAffected(); err != nil || n == 0 {
		return "", errors.Join(err, fmt.Errorf("there are %d sessions already", maxSessions))
	}
	return value, tx.Commit()
}

// resolve returns whom a cookie value stands for now. Errors: ErrEnded, or the database's.
func (m *Manager) resolve(ctx context.Context, kind auth.Kind, value string) (auth.Principal, error) {
	if value == "" || len(value) > maxCookie {
		return auth.Principal{}, ErrEnded
	}
	var (
		subject                string
		created, seen, expires int64
		now                    = time.Now()
	)
	err := m.db.QueryRowContext(ctx, "SELECT subject, created_at, seen_at, expires_at FROM web_sessions WHERE hash = ? AND kind = ?",
		digest(value), kind).Scan(&subject, &created, &seen, &expires)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return auth.Principal{}, ErrEnded
	case err != nil:
		return auth.Principal{}, fmt.Errorf("session: %w", database.Explain(err))
	case now.Unix() >= expires:
		return auth.Principal{}, ErrEnded
	case kind == auth.KindUser && now.Sub(time.Unix(seen, 0)) >= m.opts.Config.Idle:
		return auth.Principal{}, ErrEnded
	}
	p, err := m.subject(ctx, kind, subject, created)
	if err != nil {
		if errors.Is(err, auth.ErrNotFound) {
			return auth.Principal{}, ErrEnded
		}
		return auth.Principal{}, err
	}
	if now.Unix()-seen >= int64(touchInterval/time.Second) {
		if kind == auth.KindDevice {
			expires = now.Add(deviceLife).Unix()
		}
		// A full disk must not log anybody out, so a failure is not the request's.
		_, _ = m.db.ExecContext(ctx, "UPDATE web_sessions SET seen_at = ?, expires_at = ? WHERE hash = ?", now.Unix(), expires, digest(value))
	}
	return p, nil
}

func (m *Manager) subject(ctx context.Context, kind auth.Kind, subject string, created int64) (auth.Principal, error) {
	if kind == auth.KindDevice {
		return m.users.DevicePrincipal(ctx, subject)
	}
	p, passwordSince, err := m.users.UserPrincipal(ctx, subject)
	if err == nil && created < passwordSince.Unix() {
		return auth.Principal{}, ErrEnded // the password was changed, maybe because it was known to somebody
	}
	return p, err
}

func digest(value string) []byte {
	sum := sha256.Sum256([]byte(value))
	return sum[:]
}
