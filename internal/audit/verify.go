package audit

import (
	"context"
	"crypto/hmac"
	"database/sql"
	"errors"
	"fmt"

	"linehall/internal/database"
)

// BrokenError says where the chain does not hold.
type BrokenError struct {
	Seq  int64  // the first event that is wrong or missing
	What string // what is wrong with it
}

func (e *BrokenError) Error() string {
	return fmt.Sprintf("audit chain broken at event %d: %s", e.Seq, e.What)
}

// Verify reads the whole chain and returns the number of events that hold. A *BrokenError names the first that does
// not. It works on one consistent view: events appended meanwhile neither disturb it nor wait for it.
func (l *Log) Verify(ctx context.Context) (int, error) {
	tx, err := l.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return 0, fmt.Errorf("audit verify: %w", database.Explain(err))
	}
	defer func() { _ = tx.Rollback() }() // nothing was written
	count, err := l.verify(ctx, tx)
	if err != nil {
		if _, broken := errors.AsType[*BrokenError](err); broken {
			return count, err
		}
		return count, fmt.Errorf("audit verify: %w", database.Explain(err))
	}
	return count, nil
}

func (l *Log) verify(ctx context.Context, tx *sql.Tx) (int, error) {
	end, err := readHead(ctx, tx)
	if err != nil {
		return 0, err
	}
	if err := l.checkSeal(end); err != nil {
		return 0, err
	}
	rows, err := tx.QueryContext(ctx, selectRows+" ORDER BY seq")
	if err != nil {
		return 0, err
	}
	defer func() { _ = rows.Close() }() // rows.Err tells
	var last head
	for rows.Next() {
		r, hash, err := scan(rows)
		if err != nil {
			return int(last.seq), err
		}
		want := last.seq + 1
		if r.seq != want {
			return int(last.seq), &BrokenError{want, "the event is missing"}
		}
		if got := r.hash(last.hash); !hmac.Equal(got[:], hash) {
			return int(last.seq), &BrokenError{r.seq, "the event was altered, or is not the one that stood here"}
		}
		last.seq = r.seq
		copy(last.hash[:], hash)
	}
	if err := rows.Err(); err != nil {
		return int(last.seq), err
	}
	switch {
	case last.seq < end.seq:
		return int(last.seq), &BrokenError{last.seq + 1, fmt.Sprintf("the last %d events are missing", end.seq-last.seq)}
	case last.seq > end.seq:
		return int(end.seq), &BrokenError{end.seq + 1, "the event is beyond the sealed end of the chain"}
	case last.hash != end.hash:
		return int(last.seq), &BrokenError{last.seq, "the event is not the one that was sealed as the last"}
	}
	return int(last.seq), nil
}

func (l *Log) checkSeal(end head) error {
	if l.seal == nil || end.seq == 0 {
		return nil
	}
	if !hmac.Equal(l.sealOf(end), end.seal) {
		return &BrokenError{end.seq, "the seal of the last event is not ours"}
	}
	return nil
}
