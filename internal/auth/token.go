package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"linehall/internal/database"
	"linehall/internal/site"
)

// Prefixes make a leaked token recognisable, for people and for scanners.
const (
	tokenPrefix  = "lht_"
	devicePrefix = "lhd_"
	secretBytes  = 32
	maxSecret    = 128 // characters of a token that are looked at
)

// Token is a bearer token of a machine; its secret cannot be read back.
type Token struct {
	ID         string
	Name       string
	Role       Role
	Site       site.ID
	Room       string // "" = not bound to one room
	CreatedAt  time.Time
	ExpiresAt  time.Time // zero = never
	LastUsedAt time.Time // to the minute; zero = never used
}

func (t Token) principal() Principal {
	return Principal{Kind: KindToken, Name: t.Name, ID: t.ID, Role: t.Role, Site: t.Site, Room: t.Room}
}

// NewToken is what AddToken needs.
type NewToken struct {
	Name      string
	Role      Role
	Site      site.ID
	Room      string
	ExpiresAt time.Time // zero = never
}

// AddToken makes a token and returns its secret, which is shown this once. Errors: ErrInvalid.
func (s *Service) AddToken(ctx context.Context, n NewToken) (Token, string, error) {
	if _, err := ParseRole(string(n.Role)); err != nil {
		return Token{}, "", fmt.Errorf("token: %w", err)
	}
	if n.Name == "" {
		n.Name = string(n.Role)
	}
	if !namePattern.MatchString(n.Name) {
		return Token{}, "", fmt.Errorf("token %q: %w: a name has 1 to 64 letters, digits or any of . _ @ -", n.Name, ErrInvalid)
	}
	if n.Room != "" && (n.Role == Admin || n.Role == Operator) {
		return Token{}, "", fmt.Errorf("token %s: %w: a token for one room cannot be %s", n.Name, ErrInvalid, n.Role)
	}
	t := Token{
		ID: newID(), Name: n.Name, Role: n.Role, Site: n.Site, Room: n.Room,
		CreatedAt: time.Now().UTC().Truncate(time.Second), ExpiresAt: n.ExpiresAt.UTC().Truncate(time.Second),
	}
	plain := tokenPrefix + newSecret(secretBytes)
	rows, err := s.exec(ctx, `INSERT INTO auth_tokens (id, name, hash, role, site, room, created_at, expires_at)
		SELECT ?, ?, ?, ?, ?, ?, ?, ? WHERE (SELECT count(*) FROM auth_tokens) < ?`,
		t.ID, t.Name, digest(plain), t.Role, t.Site, t.Room, unix(t.CreatedAt), unix(t.ExpiresAt), maxTokens)
	if err == nil && rows == 0 {
		err = fmt.Errorf("%w: there are %d tokens already", ErrInvalid, maxTokens)
	}
	if err != nil {
		return Token{}, "", fmt.Errorf("token %s: %w", t.Name, err)
	}
	return t, plain, nil
}

const selectTokens = "SELECT id, name, role, site, room, created_at, expires_at, last_used_at FROM auth_tokens" //nolint:gosec // a query

func scanToken(scan func(...any) error) (t Token, err error) {
	var created, expires, used int64
	err = scan(&t.ID, &t.Name, &t.Role, &t.Site, &t.Room, &created, &expires, &used)
	t.CreatedAt, t.ExpiresAt, t.LastUsedAt = fromUnix(created), fromUnix(expires), fromUnix(used)
	return t, err
}

// ListTokens returns all tokens, the oldest first, also those that have expired.
func (s *Service) ListTokens(ctx context.Context) ([]Token, error) {
	rows, err := s.db.QueryContext(ctx, selectTokens+" ORDER BY created_at, id")
	if err != nil {
		return nil, fmt.Errorf("tokens: %w", database.Explain(err))
	}
	defer func() { _ = rows.Close() }() // rows.Err tells
	tokens := []Token{}
	for rows.Next() {
		t, err := scanToken(rows.Scan)
		if err != nil {
			return nil, fmt.Errorf("tokens: %w", err)
		}
		tokens = append(tokens, t)
	}
	return tokens, database.Explain(rows.Err())
}

// RevokeToken ends a token. Errors: ErrNotFound.
func (s *Service) RevokeToken(ctx context.Context, id string) error {
	return s.revoke(ctx, "token", "DELETE FROM auth_tokens WHERE id = ?", id)
}

func (s *Service) revoke(ctx context.Context, what, query, id string) error {
	n, err := s.exec(ctx, query, id)
	if err == nil && n == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("%s %q: %w", what, id, err)
	}
	return nil
}

// Bearer returns whom a bearer token stands for. Errors: ErrRefused, also for expired tokens.
func (s *Service) Bearer(ctx context.Context, token string) (Principal, error) {
	if len(token) > maxSecret || !strings.HasPrefix(token, tokenPrefix) {
		return Principal{}, ErrRefused
	}
	t, err := scanToken(s.db.QueryRowContext(ctx, selectTokens+" WHERE hash = ?", digest(token)).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return Principal{}, ErrRefused
	}
	if err != nil {
		return Principal{}, fmt.Errorf("bearer token: %w", database.Explain(err))
	}
	now := time.Now()
	if !t.ExpiresAt.IsZero() && !now.Before(t.ExpiresAt) {
		return Principal{}, ErrRefused
	}
	if now.Sub(t.LastUsedAt) > time.Minute {
		s.touch(ctx, "UPDATE auth_tokens SET last_used_at = ? WHERE id = ?", t.ID, now)
	}
	return t.principal(), nil
}

// TokenPrincipal returns what the token with that id stands for now; connections that live long ask again.
func (s *Service) TokenPrincipal(ctx context.Context, id string) (Principal, error) {
	t, err := scanToken(s.db.QueryRowContext(ctx, selectTokens+" WHERE id = ?", id).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return Principal{}, fmt.Errorf("token %q: %w", id, ErrNotFound)
	}
	if err != nil {
		return Principal{}, fmt.Errorf("token %q: %w", id, database.Explain(err))
	}
	if !t.ExpiresAt.IsZero() && !time.Now().Before(t.ExpiresAt) {
		return Principal{}, fmt.Errorf("token %q: %w", id, ErrNotFound)
	}
	return t.principal(), nil
}

// touch notes a use; a full disk must not lock anybody out, so a failure is not the caller's.
func (s *Service) touch(ctx context.Context, query, id string, now time.Time) {
	_, _ = s.exec(ctx, query, now.Unix(), id)
}

func digest(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}

func newSecret(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return base64.RawURLEncoding.EncodeToString(b)
}

func newID() string {
	b := make([]byte, 8)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return hex.EncodeToString(b)
}
