package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"regexp"

	"github.com/pressly/goose/v3"
	gdb "github.com/pressly/goose/v3/database"
)

// Schema is the tables of one package: goose files named NNNNN_what.sql, at the root of Files or in its folder
// "migrations".
type Schema struct {
	Name  string // lower case letters, digits and _; names the version table schema_NAME
	Files fs.FS
}

var schemaName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,39}$`)

// Migrate brings the schemas to their newest version, in the order given: a schema may refer to tables of an earlier
// one. It stops at the first error; what was applied before stays (each file is one transaction). A file that is newer
// than the program gives ErrNewer and is left alone, also in schemas that come later.
func Migrate(ctx context.Context, db *sql.DB, schemas ...Schema) error {
	providers := make([]*goose.Provider, 0, len(schemas))
	seen := map[string]bool{}
	for _, s := range schemas {
		if seen[s.Name] {
			return fmt.Errorf("schema %s is there twice", s.Name)
		}
		seen[s.Name] = true
		p, err := s.provider(db)
		if err != nil {
			return fmt.Errorf("schema %s: %w", s.Name, err)
		}
		if err := refuseNewer(ctx, db, p, s.table()); err != nil {
			return fmt.Errorf("schema %s: %w", s.Name, err)
		}
		providers = append(providers, p)
	}
	for i, p := range providers {
		if _, err := p.Up(ctx); err != nil {
			return fmt.Errorf("schema %s: %w", schemas[i].Name, Explain(err))
		}
	}
	return nil
}

func (s Schema) table() string { return "schema_" + s.Name }

func (s Schema) provider(db *sql.DB) (*goose.Provider, error) {
	if !schemaName.MatchString(s.Name) {
		return nil, fmt.Errorf("name %q does not match %s", s.Name, schemaName)
	}
	files := s.Files
	if sub, err := fs.Sub(files, "migrations"); err == nil {
		if found, err := fs.Glob(sub, "*.sql"); err == nil && len(found) > 0 {
			files = sub
		}
	}
	store, err := gdb.NewStore(gdb.DialectSQLite3, s.table())
	if err != nil {
		return nil, err
	}
	return goose.NewProvider("", db, files,
		goose.WithStore(store),
		goose.WithDisableGlobalRegistry(true),
		goose.WithLogger(goose.NopLogger()))
}

// refuseNewer compares without creating anything: the version table may not be there yet.
func refuseNewer(ctx context.Context, db *sql.DB, p *goose.Provider, table string) error {
	var there int
	err := db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?", table).Scan(&there)
	if err != nil || there == 0 {
		return Explain(err)
	}
	has, err := p.GetDBVersion(ctx)
	if err != nil {
		return Explain(err)
	}
	sources := p.ListSources()
	if len(sources) == 0 {
		return errors.New("no migrations")
	}
	if knows := sources[len(sources)-1].Version; has > knows {
		return fmt.Errorf("%w: it has version %d of these tables, this program knows up to %d", ErrNewer, has, knows)
	}
	return nil
}
