package location

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"linehall/internal/database"
	"linehall/internal/site"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Schema is the location service's tables.
func Schema() database.Schema { return database.Schema{Name: "location", Files: migrations} }

// store keeps bindings in SQLite; without a database it keeps nothing.
type store struct {
	db   *sql.DB
	rows map[string]int // by AOR: how many are written, as far as this process knows; of who saves
}

const columns = "aor, position, contact, contact_params, transport, local, remote, path, expires_ms, since_ms, " +
	"instance, reg_id, call_id, cseq, q, user_agent, site, updated_ms"

func (st *store) load(ctx context.Context) (map[string][]Binding, error) {
	out := make(map[string][]Binding)
	if st.db == nil {
		return out, nil
	}
	rows, err := st.db.QueryContext(ctx, "SELECT "+columns+" FROM location_bindings ORDER BY aor, position")
	if err != nil {
		return nil, database.Explain(err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err below says what matters
	for rows.Next() {
		var (
			b                     Binding
			position              int
			local, remote, path   string
			expires, since        int64
			updated               int64
			siteID, flowTransport string
		)
		if err := rows.Scan(&b.AOR, &position, &b.Contact, &b.ContactParams, &flowTransport, &local, &remote, &path,
			&expires, &since, &b.Instance, &b.RegID, &b.CallID, &b.CSeq, &b.Q, &b.UserAgent, &siteID, &updated); err != nil {
			return nil, database.Explain(err)
		}
		b.Flow.Transport = flowTransport
		b.Flow.Local, _ = netip.ParseAddrPort(local) // an invalid one means: the kernel's choice
		if b.Flow.Remote, err = netip.ParseAddrPort(remote); err != nil {
			return nil, fmt.Errorf("binding of %s: %w", b.AOR, err)
		}
		if path != "" {
			b.Path = strings.Split(path, "\n")
		}
		b.Expires, b.Since = time.UnixMilli(expires), time.UnixMilli(since)
		b.Site = site.ID(siteID)
		if updated != 0 {
			b.Updated = time.UnixMilli(updated)
		}
		out[b.AOR] = append(out[b.AOR], b)
	}
	return out, database.Explain(rows.Err())
}

// save replaces the rows of the given AORs in one transaction.
func (st *store) save(ctx context.Context, batch map[string][]Binding) (err error) {
	if st.db == nil {
		return nil
	}
	tx, err := st.db.BeginTx(ctx, nil)
	if err != nil {
		return database.Explain(err)
	}
	defer func() {
		if err != nil {
			if undo := tx.Rollback(); undo != nil && !errors.Is(undo, sql.ErrTxDone) {
				err = errors.Join(err, undo)
			}
			err = database.Explain(err)
		}
	}()
	remove, err := tx.PrepareContext(ctx, "DELETE FROM location_bindings WHERE aor = ? AND position >= ?")
	if err != nil {
		return err
	}
	defer remove.Close() //nolint:errcheck // ends with the transaction
	insert, err := tx.PrepareContext(ctx, "INSERT OR REPLACE INTO location_bindings ("+columns+
		") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
	if err != nil {
		return err
	}
	defer insert.Close() //nolint:errcheck // ends with the transaction
	for aor, list := range batch {
		// A refresh, which is nearly all there is, replaces rows; only a shorter list leaves some behind.
		if before, known := st.rows[aor]; !known || before > len(list) {
			if _, err = remove.ExecContext(ctx, aor, len(list)); err != nil {
				return err
			}
		}
		for i, b := range list {
			if _, err = insert.ExecContext(ctx, aor, i, b.Contact, b.ContactParams, b.Flow.Transport, b.Flow.Local.String(),
				b.Flow.Remote.String(), strings.Join(b.Path, "\n"), b.Expires.UnixMilli(), b.Since.UnixMilli(),
				b.Instance, b.RegID, b.CallID, b.CSeq, b.Q, b.UserAgent, string(b.Site), milliseconds(b.Updated)); err != nil {
				return err
			}
		}
	}
	if err = tx.Commit(); err != nil {
		return err
	}
	for aor, list := range batch {
		if len(list) == 0 {
			delete(st.rows, aor)
			continue
		}
		st.rows[aor] = len(list)
	}
	return nil
}

// milliseconds is 0 for the zero time.
func milliseconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
