package database_test

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"linehall/internal/database"
)

func open(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := database.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func schema(name string, files ...string) database.Schema {
	fs := fstest.MapFS{}
	for i, body := range files {
		number := string(rune('1' + i))
		fs["0000"+number+"_step.sql"] = &fstest.MapFile{Data: []byte("-- +goose Up\n" + body + "\n")}
	}
	return database.Schema{Name: name, Files: fs}
}

func TestOpenSetsWhatTheContractSays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sub dir?", "a#b.db")
	db := open(t, path)
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "1", "foreign_keys": "1", "busy_timeout": "5000"} {
		var got string
		if err := db.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got); err != nil || got != want {
			t.Errorf("%s = %q (%v), want %q", pragma, got, err, want)
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %o", info.Mode().Perm())
	}
}

func TestMigrateAppliesInOrderAndOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	db := open(t, path)
	first := schema("first", "CREATE TABLE a (x INTEGER PRIMARY KEY);")
	second := schema("second", "CREATE TABLE b (x INTEGER REFERENCES a (x));", "INSERT INTO b VALUES (NULL);")
	for range 2 {
		if err := database.Migrate(t.Context(), db, first, second); err != nil {
			t.Fatal(err)
		}
	}
	var n int
	if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM b").Scan(&n); err != nil || n != 1 {
		t.Errorf("%d rows, %v", n, err)
	}
	// a schema that gains a step is brought forward by itself
	first = schema("first", "CREATE TABLE a (x INTEGER PRIMARY KEY);", "CREATE TABLE c (x);")
	if err := database.Migrate(t.Context(), db, first, second); err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), "INSERT INTO c VALUES (1)"); err != nil {
		t.Error(err)
	}
}

func TestMigrateRefusesANewerFile(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "x.db"))
	if err := database.Migrate(t.Context(), db, schema("s", "CREATE TABLE a (x);", "CREATE TABLE b (x);")); err != nil {
		t.Fatal(err)
	}
	err := database.Migrate(t.Context(), db, schema("other", "CREATE TABLE c (x);"), schema("s", "CREATE TABLE a (x);"))
	if !errors.Is(err, database.ErrNewer) || !strings.Contains(err.Error(), "version 2") {
		t.Errorf("error %v", err)
	}
	if _, err := db.ExecContext(t.Context(), "INSERT INTO c VALUES (1)"); err == nil {
		t.Error("another schema was migrated before the refusal")
	}
}

func TestMigrateNamesTheBrokenSchema(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "x.db"))
	err := database.Migrate(t.Context(), db, schema("bad", "CREATE TABLE;"))
	if err == nil || !strings.Contains(err.Error(), "schema bad") {
		t.Errorf("error %v", err)
	}
	if err := database.Migrate(t.Context(), db, schema("Bad Name", "SELECT 1;")); err == nil {
		t.Error("no error for a bad name")
	}
	if err := database.Migrate(t.Context(), db, schema("s", "SELECT 1;"), schema("s", "SELECT 1;")); err == nil {
		t.Error("no error for a repeated schema")
	}
}

func TestOpenReportsDamage(t *testing.T) {
	dir := t.TempDir()
	whole := filepath.Join(dir, "whole.db")
	func() {
		db, err := database.Open(t.Context(), whole)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = db.Close() }()
		if err := database.Migrate(t.Context(), db, schema("s", "CREATE TABLE a (x); CREATE INDEX i ON a (x);")); err != nil {
			t.Fatal(err)
		}
		if _, err := db.ExecContext(t.Context(), `INSERT INTO a WITH RECURSIVE n (i) AS
			(SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) SELECT i FROM n`); err != nil {
			t.Fatal(err)
		}
	}()
	good, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	holed := append([]byte{}, good...)
	for i := len(holed) / 2; i < len(holed)/2+9000; i++ {
		holed[i] = 0xa5
	}
	for name, content := range map[string][]byte{
		"text":     []byte(strings.Repeat("this is not a database\n", 100)),
		"cut":      good[:len(good)/2],
		"a hole":   holed,
		"mangled1": append([]byte("SQLite format 3\x00"), make([]byte, 4096)...),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, name)
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
			db, err := database.Open(t.Context(), path)
			if err == nil {
				_ = db.Close()
			}
			if !errors.Is(err, database.ErrDamaged) || !strings.Contains(err.Error(), path) {
				t.Errorf("error %v", err)
			}
		})
	}
	if _, err := database.Open(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "is a folder") {
		t.Errorf("a folder: %v", err)
	}
}

func TestAFullDiskIsAnErrorAndReadsGoOn(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "x.db"))
	db.SetMaxOpenConns(1) // the limit belongs to a connection
	ctx := t.Context()
	if err := database.Migrate(ctx, db, schema("s", "CREATE TABLE a (x);")); err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(ctx, "PRAGMA max_page_count = 20"); err != nil { // SQLITE_FULL, as a full disk gives
		t.Fatal(err)
	}
	var err error
	for i := 0; err == nil && i < 100; i++ {
		_, err = db.ExecContext(ctx, "INSERT INTO a VALUES (zeroblob(4000))")
	}
	if !errors.Is(database.Explain(err), database.ErrFull) {
		t.Errorf("error %v", err)
	}
	var n int
	if err := db.QueryRowContext(ctx, "SELECT count(*) FROM a").Scan(&n); err != nil || n == 0 {
		t.Errorf("reading a full database: %d rows, %v", n, err)
	}
}

func TestBackupIsWholeWhileWritersWrite(t *testing.T) {
	dir := t.TempDir()
	db := open(t, filepath.Join(dir, "x.db"))
	if err := database.Migrate(t.Context(), db, schema("s", "CREATE TABLE a (x);")); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan int)
	started := make(chan struct{})
	go func() {
		n := 0
		for ctx.Err() == nil {
			if _, err := db.ExecContext(t.Context(), "INSERT INTO a VALUES (1), (2)"); err != nil {
				t.Error(err)
				break
			}
			if n++; n == 1 {
				close(started)
			}
		}
		done <- n
	}()
	<-started
	path := filepath.Join(dir, "backup.db")
	err := database.Backup(t.Context(), db, path)
	stop()
	written := <-done
	if err != nil {
		t.Fatal(err)
	}
	copied := open(t, path)
	var n int
	if err := copied.QueryRowContext(t.Context(), "SELECT count(*) FROM a").Scan(&n); err != nil || n == 0 || n%2 != 0 || n > 2*written {
		t.Errorf("%d rows of %d in the backup, %v", n, 2*written, err)
	}
	if err := database.Backup(t.Context(), db, path); !errors.Is(err, os.ErrExist) {
		t.Errorf("overwriting: %v", err)
	}
	left, err := filepath.Glob(filepath.Join(dir, ".backup-*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
}
