// Package database opens the appliance's one SQLite file, brings the tables of every domain to their newest form, and
// backs the file up while it is in use.
//
// A domain keeps its SQL and its migrations beside the code that uses them and exports them as a Schema; Migrate applies
// the schemas in the order given, each with a version table of its own, so that domains evolve apart. The file is in WAL
// mode with synchronous=NORMAL: a crash of the process loses nothing, a power cut at most the last moments, and the file
// stays whole in both. Writing transactions take the write lock at BEGIN (deferred locks would fail half-way);
// transactions opened ReadOnly do not.
//
// Errors that an operator can do something about wrap ErrDamaged, ErrNewer, ErrFull or ErrReadOnly; see Explain.
//
//	db, err := database.Open(ctx, filepath.Join(data, "linehall.db"))
//	err = database.Migrate(ctx, db, audit.Schema(), directory.Schema(), auth.Schema())
//	err = database.Backup(ctx, db, "linehall-backup.db")
package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	_ "modernc.org/sqlite" // registers the driver "sqlite"
)

const (
	// maxConns bounds parallel readers; SQLite has one writer anyhow.
	maxConns = 8
	// quickCheckBelow is the size up to which Open reads the whole file for damage: about a quarter of a second from
	// the page cache. Bigger files are checked by doctor, so that a restart stays quick.
	quickCheckBelow = 256 << 20
)

// Open opens or creates the file. A damaged file or a missing folder is an error in words for the operator; the file
// is never touched when it is damaged. The caller closes the result after everything that uses it has ended.
func Open(ctx context.Context, path string) (*sql.DB, error) {
	size, err := prepare(path)
	if err != nil {
		return nil, err
	}
	db, err := OpenUnchecked(ctx, path)
	if err != nil {
		return nil, err
	}
	if size > 0 && size < quickCheckBelow {
		if err := Check(ctx, db); err != nil {
			return nil, errors.Join(fmt.Errorf("database %s: %w", path, err), db.Close())
		}
	}
	return db, nil
}

// OpenUnchecked is Open without reading the file for damage, for a file that was whole a moment ago: a crash of the process
// alone damages none.
func OpenUnchecked(ctx context.Context, path string) (*sql.DB, error) {
	if _, err := prepare(path); err != nil {
		return nil, err
	}
	query := url.Values{"_pragma": {
		"busy_timeout(5000)", // first: switching to WAL may have to wait
		"journal_mode(WAL)",
		"synchronous(NORMAL)",
		"foreign_keys(1)",
		"trusted_schema(0)",
	}, "_txlock": {"immediate"}}
	dsn := (&url.URL{Scheme: "file", Opaque: escapePath(path), RawQuery: query.Encode()}).String()
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, fmt.Errorf("database %s: %w", path, err)
	}
	db.SetMaxOpenConns(maxConns)
	db.SetMaxIdleConns(maxConns)

	if err := db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(new(int)); err != nil {
		return nil, errors.Join(fmt.Errorf("database %s: %w", path, Explain(err)), db.Close())
	}
	return db, nil
}

// prepare makes sure that the file is readable by its owner only from its first byte on: it holds sealed secrets,
// password hashes and who called whom. It returns the file's size.
func prepare(path string) (int64, error) {
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return 0, fmt.Errorf("database %s: is a folder, not a file", path)
	case err == nil:
		return info.Size(), nil
	case !errors.Is(err, os.ErrNotExist):
		return 0, fmt.Errorf("database %s: %w", path, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return 0, fmt.Errorf("database %s: %w", path, err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // the path is the operator's own setting
	if err != nil {
		return 0, fmt.Errorf("database %s: %w", path, err)
	}
	return 0, f.Close()
}

func escapePath(path string) string {
	return (&url.URL{Path: path}).EscapedPath()
}

// Check reads the whole file and returns an error that wraps ErrDamaged when its structure is broken.
func Check(ctx context.Context, db *sql.DB) error {
	var answer string
	if err := db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&answer); err != nil {
		return Explain(err)
	}
	if answer != "ok" {
		return fmt.Errorf("%w (%s)", ErrDamaged, answer)
	}
	return nil
}

// Backup writes a consistent copy of the database to path, which must not exist, while the appliance goes on. The copy
// appears under its name only when it is complete.
func Backup(ctx context.Context, db *sql.DB, path string) error {
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("backup %s: %w", path, os.ErrExist)
	}
	partial, err := os.CreateTemp(filepath.Dir(path), ".backup-*") // 0600
	if err != nil {
		return fmt.Errorf("backup %s: %w", path, err)
	}
	name := partial.Name()
	defer func() { _ = os.Remove(name) }() // gone already when all went well
	if err := partial.Close(); err != nil {
		return fmt.Errorf("backup %s: %w", path, err)
	}
	if _, err := db.ExecContext(ctx, "VACUUM INTO ?", name); err != nil {
		return fmt.Errorf("backup %s: %w", path, Explain(err))
	}
	if err := syncFile(name); err != nil {
		return fmt.Errorf("backup %s: %w", path, err)
	}
	if err := os.Rename(name, path); err != nil {
		return fmt.Errorf("backup %s: %w", path, err)
	}
	return nil
}

func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0) //nolint:gosec // made by Backup a moment ago
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
