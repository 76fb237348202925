package cdr

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"linehall/internal/database"
)

// Quality is what a phone says about what it received of a call (RFC 6035). Its figures are the
// phone's word: beside those that we measure ourselves, never instead of them.
type Quality struct {
	Call            string        `json:"call"` // Record.ID
	ReportedAt      time.Time     `json:"reported_at"`
	Extension       string        `json:"extension"`
	Site            string        `json:"site"`
	Kind            string        `json:"kind"` // session (the whole call), interval, alert
	MOS             float64       `json:"mos"`  // listening quality; 0: the phone gave none
	MOSConversation float64       `json:"mos_conversation"`
	LossPercent     float64       `json:"loss_percent"`
	DiscardPercent  float64       `json:"discard_percent"` // by its jitter buffer
	Jitter          time.Duration `json:"jitter_ns"`
	RoundTrip       time.Duration `json:"round_trip_ns"`
	Codec           string        `json:"codec"`
}

// maxReports bounds the reports of one call; a phone that reports each minute fills it in an hour.
const maxReports = 64

// AddQuality keeps a report; beyond maxReports of a call further ones are dropped.
func (l *Log) AddQuality(ctx context.Context, q Quality) error {
	if q.ReportedAt.IsZero() {
		q.ReportedAt = time.Now().UTC()
	}
	raw, err := json.Marshal(q)
	if err != nil {
		return fmt.Errorf("quality of call %s: %w", q.Call, err)
	}
	_, err = l.db.ExecContext(ctx, `INSERT INTO cdr_quality (call_id, reported_at, extension, report)
		SELECT ?, ?, ?, ? WHERE (SELECT count(*) FROM cdr_quality WHERE call_id = ?) < ?`,
		q.Call, q.ReportedAt.UnixMilli(), q.Extension, string(raw), q.Call, maxReports)
	if err != nil {
		return fmt.Errorf("quality of call %s: %w", q.Call, database.Explain(err))
	}
	return nil
}

// Quality returns the reports of a call, oldest first.
func (l *Log) Quality(ctx context.Context, call string) (_ []Quality, err error) {
	rows, err := l.db.QueryContext(ctx, "SELECT report FROM cdr_quality WHERE call_id = ? ORDER BY reported_at, rowid", call)
	if err != nil {
		return nil, fmt.Errorf("quality of call %s: %w", call, database.Explain(err))
	}
	defer func() {
		if cerr := rows.Close(); err == nil && cerr != nil {
			err = cerr
		}
	}()
	var reports []Quality
	for rows.Next() {
		var raw string
		if err := rows.Scan(&raw); err != nil {
			return nil, fmt.Errorf("quality of call %s: %w", call, err)
		}
		var q Quality
		if err := json.Unmarshal([]byte(raw), &q); err != nil {
			return nil, fmt.Errorf("quality of call %s: %w", call, err)
		}
		reports = append(reports, q)
	}
	return reports, rows.Err()
}
