package subscribe

import (
	"context"
	"database/sql"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"linehall/internal/database"
	"linehall/internal/observe"
	"linehall/sip/dialog"
	"linehall/sip/stack"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Schema is the table of subscriptions.
func Schema() database.Schema { return database.Schema{Name: "subscribe", Files: migrations} }

// store keeps subscriptions in SQLite; without a database it keeps nothing.
type store struct {
	db     *sql.DB
	broken atomic.Bool // the last write failed
}

// saved is a subscription as the store keeps it. CSeq and Version are ceilings: no number above
// them was used, and the next process starts there.
type saved struct {
	Event    string         `json:"event"`
	EventID  string         `json:"event_id,omitempty"`
	Owner    string         `json:"owner"`
	Resource string         `json:"resource"`
	List     bool           `json:"list,omitempty"`
	Dialog   *dialog.Dialog `json:"dialog"`
	Flow     stack.Flow     `json:"flow"`
	Expires  time.Time      `json:"expires"`
	CSeq     uint32         `json:"cseq"`
	Version  uint32         `json:"version"`
}

// restore takes up the subscriptions of before. Each gets a new block of numbers, in the store
// before the first one is used, and tells its state in full.
func (s *Service) restore(ctx context.Context) error {
	rows, err := s.store.load(ctx)
	if err != nil {
		return err
	}
	now := time.Now()
	s.mu.Lock()
	for k, raw := range rows {
		sub, err := s.revive(k, raw)
		switch {
		case err != nil:
			s.log.Error("subscription not recovered", slog.Any(observe.Err, err))
			s.unsaved[k] = nil
		case !sub.expires.After(now):
			s.unsaved[k] = nil
		default:
			sub.tellAll(now)
			s.put(sub)
			s.unsaved[k] = sub
		}
	}
	n := len(s.subs)
	s.mu.Unlock()
	if n > 0 {
		s.log.Info("subscriptions recovered", slog.Int(observe.Count, n))
	}
	return s.flush(ctx)
}

func (s *Service) revive(k key, raw []byte) (*subscription, error) {
	var st saved
	if err := json.Unmarshal(raw, &st); err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	if st.Dialog == nil || st.Owner == "" || st.Event == "" {
		return nil, errors.New("state: incomplete")
	}
	shown, ok := s.lampsOf(st.Event, st.Owner, st.Resource, st.List)
	sub := &subscription{
		key: k, event: st.Event, eventID: st.EventID, owner: st.Owner, resource: st.Resource, list: st.List,
		dialog: st.Dialog, flow: st.Flow, expires: st.Expires, lamps: shown, position: -1,
		cseq: counter{st.CSeq, st.CSeq}, version: counter{st.Version, st.Version},
	}
	if !ok {
		sub.end(reasonNoResource, time.Now())
	}
	return sub, nil
}

// write stores what changed, in groups, until ctx ends.
func (s *Service) write(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.writes:
		case <-timer.C:
		}
		wait := time.NewTimer(s.limits.WriteLag) // for others to be written with
		select {
		case <-ctx.Done():
			wait.Stop()
			return nil
		case <-wait.C:
		}
		timer.Reset(time.Hour)
		if err := s.flush(ctx); err != nil {
			timer.Reset(time.Second)
		}
	}
}

// flush writes what changed in one transaction and lets the new blocks be used. When that fails
// memory is right, and the next attempt comes in a second.
func (s *Service) flush(ctx context.Context) error {
	s.mu.Lock()
	batch := make(map[key]*saved, len(s.unsaved))
	for k, sub := range s.unsaved {
		batch[k] = nil
		if sub != nil {
			d := *sub.dialog // its owner may change it while it is written
			batch[k] = &saved{
				Event: sub.event, EventID: sub.eventID, Owner: sub.owner, Resource: sub.resource, List: sub.list, Dialog: &d, Flow: sub.flow,
				Expires: sub.expires, CSeq: sub.cseq.Value + block, Version: sub.version.Value + block,
			}
		}
	}
	clear(s.unsaved)
	s.mu.Unlock()
	if len(batch) == 0 {
		return nil
	}
	err := s.store.save(ctx, batch)
	s.mu.Lock()
	for k, st := range batch {
		sub := s.subs[k]
		switch _, again := s.unsaved[k]; {
		case err != nil && !again:
			s.unsaved[k] = sub // nil when it was removed
		case err == nil && st != nil && sub != nil:
			sub.cseq.Ceiling, sub.version.Ceiling = max(st.CSeq, sub.cseq.Ceiling), max(st.Version, sub.version.Ceiling)
		}
	}
	s.mu.Unlock()
	if was := s.store.broken.Swap(err != nil); err != nil && !was {
		s.log.Error("subscriptions not written; a restart would lose the newest", slog.Any(observe.Err, err))
	} else if err == nil && was {
		s.log.Info("subscriptions are written again")
	}
	if err != nil {
		return fmt.Errorf("subscriptions: %w", err)
	}
	return nil
}

func (st *store) load(ctx context.Context) (_ map[key][]byte, err error) {
	if st.db == nil {
		return nil, nil
	}
	rows, err := st.db.QueryContext(ctx, "SELECT call_id, local_tag, state FROM subscriptions")
	if err != nil {
		return nil, database.Explain(err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err below says what matters
	out := map[key][]byte{}
	for rows.Next() {
		var k key
		var raw []byte
		if err := rows.Scan(&k.callID, &k.localTag, &raw); err != nil {
			return nil, database.Explain(err)
		}
		out[k] = raw
	}
	return out, database.Explain(rows.Err())
}

func (st *store) save(ctx context.Context, batch map[key]*saved) (err error) {
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
	put, err := tx.PrepareContext(ctx, `INSERT INTO subscriptions (call_id, local_tag, state) VALUES (?, ?, ?)
		ON CONFLICT (call_id, local_tag) DO UPDATE SET state = excluded.state`)
	if err != nil {
		return err
	}
	defer put.Close() //nolint:errcheck // ends with the transaction
	remove, err := tx.PrepareContext(ctx, "DELETE FROM subscriptions WHERE call_id = ? AND local_tag = ?")
	if err != nil {
		return err
	}
	defer remove.Close() //nolint:errcheck // ends with the transaction
	for k, state := range batch {
		if state == nil {
			_, err = remove.ExecContext(ctx, k.callID, k.localTag)
		} else {
			var raw []byte
			if raw, err = json.Marshal(state); err == nil {
				_, err = put.ExecContext(ctx, k.callID, k.localTag, raw)
			}
		}
		if err != nil {
			return err
		}
	}
	return tx.Commit()
}
