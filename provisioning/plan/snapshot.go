package plan

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"linehall/internal/database"
	"linehall/internal/secret"
)

// Snapshot is the files that an apply took over.
type Snapshot struct {
	ID     int64     `json:"id"`
	At     time.Time `json:"at"`
	Phones int       `json:"phones"` // that the apply concerned
}

// KeepSnapshots is how many are kept; the oldest go first.
const KeepSnapshots = 20

// ErrNoSnapshot means that there is none of this number.
var ErrNoSnapshot = errors.New("no such snapshot")

// Archive keeps the files of applies: the configuration may hold secrets, so
// they are sealed.
type Archive struct {
	db  *sql.DB
	box *secret.Box
}

// NewArchive uses the database; its tables need not be there to read.
func NewArchive(db *sql.DB, box *secret.Box) *Archive { return &Archive{db, box} }

const snapshotPurpose = "configuration snapshot"

// Keep adds the files of an apply. Files that are those of the last snapshot
// are not kept twice: going back to it is the same.
func (a *Archive) Keep(ctx context.Context, files map[string][]byte, phones int, at time.Time) error {
	text, err := json.Marshal(files) // sorted by name
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	sum := sha256.Sum256(text)
	content := hex.EncodeToString(sum[:])
	var last string
	err = a.db.QueryRowContext(ctx, "SELECT content FROM plan_snapshots ORDER BY id DESC LIMIT 1").Scan(&last)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("snapshot: %w", database.Explain(err))
	}
	if last == content {
		return nil
	}
	sealed, err := a.box.Seal(snapshotPurpose, text)
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	if _, err := a.db.ExecContext(ctx, "INSERT INTO plan_snapshots (applied_at, phones, content, files) VALUES (?, ?, ?, ?)",
		at.UnixMicro(), phones, content, sealed); err != nil {
		return fmt.Errorf("snapshot: %w", database.Explain(err))
	}
	_, err = a.db.ExecContext(ctx, "DELETE FROM plan_snapshots WHERE id NOT IN (SELECT id FROM plan_snapshots ORDER BY id DESC LIMIT ?)", KeepSnapshots)
	return database.Explain(err)
}

// List returns the snapshots, the newest first.
func (a *Archive) List(ctx context.Context) (_ []Snapshot, err error) {
	list := []Snapshot{}
	var tables int
	if err := a.db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema WHERE name = 'plan_snapshots'").Scan(&tables); err != nil || tables == 0 {
		return list, database.Explain(err)
	}
	rows, err := a.db.QueryContext(ctx, "SELECT id, applied_at, phones FROM plan_snapshots ORDER BY id DESC")
	if err != nil {
		return nil, fmt.Errorf("snapshots: %w", database.Explain(err))
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var s Snapshot
		var at int64
		if err := rows.Scan(&s.ID, &at, &s.Phones); err != nil {
			return nil, fmt.Errorf("snapshots: %w", err)
		}
		s.At = time.UnixMicro(at).UTC()
		list = append(list, s)
	}
	return list, rows.Err()
}

// Files returns the files of a snapshot, by the names that Keep was given.
func (a *Archive) Files(ctx context.Context, id int64) (map[string][]byte, error) {
	var sealed []byte
	err := a.db.QueryRowContext(ctx, "SELECT files FROM plan_snapshots WHERE id = ?", id).Scan(&sealed)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("%w: %d", ErrNoSnapshot, id)
	}
	if err != nil {
		return nil, fmt.Errorf("snapshot %d: %w", id, database.Explain(err))
	}
	text, err := a.box.Open(snapshotPurpose, sealed)
	if err != nil {
		return nil, fmt.Errorf("snapshot %d: %w", id, err)
	}
	files := map[string][]byte{}
	if err := json.Unmarshal(text, &files); err != nil {
		return nil, fmt.Errorf("snapshot %d: %w", id, err)
	}
	return files, nil
}
