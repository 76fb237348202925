package auth

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"linehall/internal/database"
	"linehall/internal/site"
)

// maxPassword is in bytes: hashing time must not depend on a stranger's megabyte.
const maxPassword = 256

var namePattern = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._@-]{0,63}$`)

// Account is a console user; its password cannot be read back.
type Account struct {
	Name      string
	Role      Role
	Site      site.ID // "" = all sites
	Initial   bool    // still has the password of DATA/admin-password
	CreatedAt time.Time
	ChangedAt time.Time // of the password
}

func (a Account) principal() Principal {
	return Principal{Kind: KindUser, Name: a.Name, Role: a.Role, Site: a.Site}
}

// Login checks name and password. source is the address the request came from. Errors: ErrRefused, *LockedError,
// ErrBusy.
func (s *Service) Login(ctx context.Context, user, password, source string) (Principal, error) {
	if wait := s.locks.wait(user, source, time.Now()); wait > 0 {
		s.logins.WithLabelValues("locked").Inc()
		return Principal{}, &LockedError{RetryAfter: wait}
	}
	account, hash, err := s.account(ctx, user)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return Principal{}, fmt.Errorf("log-in: %w", err)
	}
	if len(password) > maxPassword {
		hash, password = "", password[:maxPassword]
	}
	fits, err := s.hasher.fits(ctx, hash, password)
	if err != nil {
		if errors.Is(err, ErrBusy) {
			s.logins.WithLabelValues("busy").Inc()
		}
		return Principal{}, fmt.Errorf("log-in: %w", err)
	}
	if !fits {
		s.locks.fail(user, source, time.Now())
		s.logins.WithLabelValues("refused").Inc()
		return Principal{}, ErrRefused
	}
	s.locks.succeed(user, source)
	s.logins.WithLabelValues("accepted").Inc()
	return account.principal(), nil
}

// UserPrincipal returns what the user may do now, and since when the password is the present one: a session asks again
// at each request, so that a changed role, a changed password or a removed user counts at once. Errors: ErrNotFound.
func (s *Service) UserPrincipal(ctx context.Context, name string) (Principal, time.Time, error) {
	account, _, err := s.account(ctx, name)
	if err != nil {
		return Principal{}, time.Time{}, err
	}
	return account.principal(), account.ChangedAt, nil
}

const selectUsers = "SELECT name, hash, role, site, initial, created_at, changed_at FROM auth_users"

func scanUser(scan func(...any) error) (a Account, hash string, err error) {
	var created, changed int64
	err = scan(&a.Name, &hash, &a.Role, &a.Site, &a.Initial, &created, &changed)
	a.CreatedAt, a.ChangedAt = fromUnix(created), fromUnix(changed)
	return a, hash, err
}

func (s *Service) account(ctx context.Context, name string) (Account, string, error) {
	a, hash, err := scanUser(s.db.QueryRowContext(ctx, selectUsers+" WHERE name = ?", name).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return Account{}, "", fmt.Errorf("user %q: %w", name, ErrNotFound)
	}
	if err != nil {
		return Account{}, "", fmt.Errorf("user %q: %w", name, database.Explain(err))
	}
	return a, hash, nil
}

// ListUsers returns all users by name.
func (s *Service) ListUsers(ctx context.Context) ([]Account, error) {
	rows, err := s.db.QueryContext(ctx, selectUsers+" ORDER BY name")
	if err != nil {
		return nil, fmt.Errorf("users: %w", database.Explain(err))
	}
	defer func() { _ = rows.Close() }() // rows.Err tells
	accounts := []Account{}
	for rows.Next() {
		a, _, err := scanUser(rows.Scan)
		if err != nil {
			return nil, fmt.Errorf("users: %w", err)
		}
		accounts = append(accounts, a)
	}
	return accounts, database.Explain(rows.Err())
}

// NewUser is what AddUser needs.
type NewUser struct {
	Name     string
	Password string // at least Config.PasswordMinLength characters
	Role     Role
	Site     site.ID
}

// AddUser adds a user. Errors: ErrInvalid, ErrExists.
func (s *Service) AddUser(ctx context.Context, u NewUser) error { return s.addUser(ctx, u, false) }

func (s *Service) addUser(ctx context.Context, u NewUser, initial bool) error {
	if !namePattern.MatchString(u.Name) {
		return fmt.Errorf("user %q: %w: a name has 1 to 64 letters, digits or any of . _ @ -", u.Name, ErrInvalid)
	}
	if _, err := ParseRole(string(u.Role)); err != nil {
		return fmt.Errorf("user %s: %w", u.Name, err)
	}
	if err := s.checkPassword(u.Name, u.Password); err != nil {
		return fmt.Errorf("user %s: %w", u.Name, err)
	}
	hash, err := s.hasher.hash(ctx, u.Password)
	if err != nil {
		return fmt.Errorf("user %s: %w", u.Name, err)
	}
	now := time.Now().Unix()
	n, err := s.exec(ctx, `INSERT INTO auth_users (name, hash, role, site, initial, created_at, changed_at)
		SELECT ?, ?, ?, ?, ?, ?, ? WHERE (SELECT count(*) FROM auth_users) < ?
		ON CONFLICT (name) DO NOTHING`, u.Name, hash, u.Role, u.Site, initial, now, now, maxUsers)
	if err != nil {
		return fmt.Errorf("user %s: %w", u.Name, err)
	}
	if n == 0 {
		if _, _, err := s.account(ctx, u.Name); err != nil {
			return fmt.Errorf("user %s: %w: there are %d users already", u.Name, ErrInvalid, maxUsers)
		}
		return fmt.Errorf("user %s: %w", u.Name, ErrExists)
	}
	return nil
}

// SetPassword replaces a user's password. Errors: ErrInvalid, ErrNotFound.
func (s *Service) SetPassword(ctx context.Context, name, password string) error {
	if err := s.checkPassword(name, password); err != nil {
		return fmt.Errorf("user %s: %w", name, err)
	}
	if _, _, err := s.account(ctx, name); err != nil {
		return err
	}
	hash, err := s.hasher.hash(ctx, password)
	if err != nil {
		return fmt.Errorf("user %s: %w", name, err)
	}
	n, err := s.exec(ctx, "UPDATE auth_users SET hash = ?, initial = 0, changed_at = ? WHERE name = ?",
		hash, time.Now().Unix(), name)
	if err != nil {
		return fmt.Errorf("user %s: %w", name, err)
	}
	if n == 0 {
		return fmt.Errorf("user %s: %w", name, ErrNotFound)
	}
	return nil
}

// RemoveUser removes a user; the last administrator stays. Errors: ErrNotFound, ErrLastAdmin.
func (s *Service) RemoveUser(ctx context.Context, name string) error {
	n, err := s.exec(ctx, `DELETE FROM auth_users WHERE name = ?1 AND
		(role <> ?2 OR (SELECT count(*) FROM auth_users WHERE role = ?2) > 1)`, name, Admin)
	if err != nil {
		return fmt.Errorf("user %s: %w", name, err)
	}
	if n == 0 {
		if _, _, err := s.account(ctx, name); err != nil {
			return err
		}
		return fmt.Errorf("user %s: %w", name, ErrLastAdmin)
	}
	return nil
}

func (s *Service) checkPassword(name, password string) error {
	switch {
	case !utf8.ValidString(password):
		return fmt.Errorf("%w: the password is not valid text", ErrInvalid)
	case utf8.RuneCountInString(password) < s.minPassword:
		return fmt.Errorf("%w: the password has fewer than %d characters", ErrInvalid, s.minPassword)
	case len(password) > maxPassword:
		return fmt.Errorf("%w: the password has more than %d bytes", ErrInvalid, maxPassword)
	case strings.EqualFold(password, name):
		return fmt.Errorf("%w: the password is the user name", ErrInvalid)
	}
	return nil
}
