// Package auth knows who may do what: console users with passwords, bearer tokens of machines, device tokens behind the
// links of venues, and the principal that a request carries.
//
// Passwords are hashed with argon2id (RFC 9106; 19 MiB, 2 passes, 1 lane), two at a time, so that log-ins cannot eat the
// machine. Wrong passwords lock the account at that source, the account, and the source for growing times; the answer
// and its time are the same whether the account exists or not. Tokens have 256 random bits and are kept as SHA-256.
// Everything that grows is bounded. HTTP, cookies and CSRF are web/session's; SIP digest is sip/digest's.
//
// A Service may be used from many goroutines at once.
//
//	users, err := auth.Open(ctx, db, auth.Options{Registerer: reg})
//	path, err := users.FirstAdmin(ctx, dataDir)
//	p, err := users.Login(ctx, "admin", password, "10.0.0.5")
//	ctx = auth.WithPrincipal(ctx, p)
package auth

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"linehall/internal/database"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Schema is auth's tables.
func Schema() database.Schema { return database.Schema{Name: "auth", Files: migrations} }

// Errors that callers tell apart.
var (
	// ErrRefused: name and password, or the token, do not fit. It never says which.
	ErrRefused = errors.New("user name or password is wrong")
	// ErrBusy: too many log-ins are being checked; try again in a second.
	ErrBusy = errors.New("too many log-ins at once")
	// ErrNotFound: no user, token or device has that name.
	ErrNotFound = errors.New("not found")
	// ErrExists: the name is taken.
	ErrExists = errors.New("exists already")
	// ErrInvalid: a value breaks a rule; the message says which.
	ErrInvalid = errors.New("not valid")
	// ErrLastAdmin: the last administrator can be neither removed nor made something else.
	ErrLastAdmin = errors.New("the last administrator must stay")
)

// LockedError says that an account or source has to wait. It is given for accounts that do not exist as well.
type LockedError struct {
	RetryAfter time.Duration
}

func (e *LockedError) Error() string {
	return fmt.Sprintf("too many wrong passwords, wait %s", e.RetryAfter.Round(time.Second))
}

// Bounds of the tables.
const (
	maxUsers   = 1000
	maxTokens  = 1000
	maxDevices = 2000
)

// Options are the parts a Service may be given.
type Options struct {
	Config     Config                // the zero value means DefaultConfig
	Registerer prometheus.Registerer // nil = no metrics
}

// Service holds users, tokens and devices.
type Service struct {
	db     *sql.DB
	hasher *hasher
	locks  *lockout
	logins *prometheus.CounterVec

	minPassword int // characters
}

// Open returns the service on db, whose tables must be there (database.Migrate).
func Open(ctx context.Context, db *sql.DB, opts Options) (*Service, error) {
	var n int
	if err := db.QueryRowContext(ctx, "SELECT count(*) FROM auth_users").Scan(&n); err != nil {
		return nil, fmt.Errorf("auth: %w", database.Explain(err))
	}
	config := opts.Config
	if config.PasswordMinLength == 0 { // none was given
		config = DefaultConfig()
	}
	s := &Service{
		db: db, minPassword: config.PasswordMinLength, hasher: newHasher(cost{argonMemoryKiB, argonTime}), locks: newLockout(config.Lockout),
		logins: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "linehall_auth_logins_total",
			Help: "Attempts to log in with name and password, by result: accepted, refused, locked, busy.",
		}, []string{"result"}),
	}
	if opts.Registerer != nil {
		opts.Registerer.MustRegister(s.logins)
	}
	return s, nil
}

// exec runs one statement and returns how many rows it changed.
func (s *Service) exec(ctx context.Context, query string, args ...any) (int64, error) {
	result, err := s.db.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, database.Explain(err)
	}
	n, err := result.RowsAffected()
	return n, database.Explain(err)
}

// unix is the stored form of a time; the zero time is 0.
func unix(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

func fromUnix(seconds int64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0).UTC()
}
