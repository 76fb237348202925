package auth

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"linehall/internal/database"
)

// FirstAdminName and PasswordFile are the first administrator and where its password is to be found in DATA.
const (
	FirstAdminName = "admin"
	PasswordFile   = "admin-password"
)

// FirstAdmin makes the first administrator when there is no user at all, with a random password in
// DATA/admin-password (0600). It returns that file's path as long as the password in it is in use, "" afterwards; a
// file whose password was replaced is removed. The password is never returned, so that nobody can log it.
func (s *Service) FirstAdmin(ctx context.Context, dir string) (string, error) {
	path := filepath.Join(dir, PasswordFile)
	var users, initial int
	err := s.db.QueryRowContext(ctx, "SELECT count(*), coalesce(sum(initial), 0) FROM auth_users").Scan(&users, &initial)
	if err != nil {
		return "", fmt.Errorf("first administrator: %w", database.Explain(err))
	}
	switch {
	case initial > 0:
		return path, nil
	case users > 0:
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", fmt.Errorf("first administrator: %w", err)
		}
		return "", nil
	}
	password := newSecret(15) // 20 characters
	// The file first: an administrator whose password nobody knows would lock everybody out.
	if err := writePrivate(dir, path, password+"\n"); err != nil {
		return "", fmt.Errorf("first administrator: %w", err)
	}
	if err := s.addUser(ctx, NewUser{Name: FirstAdminName, Password: password, Role: Admin}, true); err != nil {
		return "", fmt.Errorf("first administrator: %w", errors.Join(err, os.Remove(path)))
	}
	return path, nil
}

func writePrivate(dir, path, text string) error {
	f, err := os.CreateTemp(dir, ".admin-*") // 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone already when all went well
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
