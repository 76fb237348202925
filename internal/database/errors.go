package database

import (
	"errors"
	"fmt"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Errors that someone must act on.
var (
	// ErrDamaged: the file is no SQLite database or its structure is broken; restore a backup.
	ErrDamaged = errors.New("the file is damaged or is not a database; restore a backup (linehall restore)")
	// ErrNewer: the tables were made by a newer version of the program.
	ErrNewer = errors.New("the file was written by a newer version of this program")
	// ErrFull: the disk has no room, or the file reached its limit; reads still work.
	ErrFull = errors.New("no space left for the database")
	// ErrReadOnly: the file or its folder may not be written.
	ErrReadOnly = errors.New("the database may not be written: check the owner and mode of the file and its folder")
)

// Explain wraps err so that errors.Is finds the cause an operator can act on; other errors come back as they are.
func Explain(err error) error {
	cause := cause(err)
	if cause == nil || errors.Is(err, cause) {
		return err
	}
	return fmt.Errorf("%w: %w", cause, err)
}

func cause(err error) error {
	var se *sqlite.Error
	if !errors.As(err, &se) {
		return nil
	}
	const primary = 0xff // extended result codes keep the primary one in the low byte
	switch se.Code() & primary {
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return ErrDamaged
	case sqlite3.SQLITE_FULL:
		return ErrFull
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM:
		return ErrReadOnly
	default:
		return nil
	}
}
