package plan

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Phones are the telephones as an apply meets them.
type Phones interface {
	// State says whether a phone of the extension is registered, in a call, and
	// whether this one has a file of its own to fetch.
	State(mac, extension string) State
	// Resync sends the NOTIFY and returns when the phone has taken it.
	Resync(ctx context.Context, extension, event string) error
	// Rotate makes the next password of an extension, which its phone's file has
	// from then on; one that waits already stays.
	Rotate(ctx context.Context, extension string) error
	// Fetched is closed when the phone has fetched its file after this call.
	Fetched(mac string) <-chan struct{}
}

// State is how a phone is now.
type State struct{ Registered, InCall, Enrolled bool }

// Options say how an apply goes about it.
type Options struct {
	Batch       int           // phones told at once
	Pause       time.Duration // after a batch that disturbed a phone
	MaxFailures int           // then it stops
	Patience    time.Duration // for a phone to come and fetch
	// Open reports whether phones may be disturbed now; nil = always. An apply
	// ends with ErrClosed before the batch that would begin too late.
	Open func(now time.Time) bool
}

// Outcome is what became of one phone.
type Outcome struct {
	Change Change `json:"change"`
	Result string `json:"result"`
	Detail string `json:"detail"`
}

// The results of a phone.
const (
	Fetched     = "fetched"      // it was told and has come
	Offline     = "offline"      // not registered: it gets its file when it asks next
	NotEnrolled = "not_enrolled" // has no file yet: its site's window decides
	Removed     = "removed"      // gone from the list
	InCall      = "in_call"      // not disturbed; not applied
	Failed      = "failed"       // not applied
)

// done reports whether the result is noted as applied.
func done(result string) bool { return result != InCall && result != Failed }

// Run tells the phones of a plan, batch by batch, and hands each outcome to
// report. Phones in a call are left alone and stay in the next plan, like
// those that failed. The error is ErrStopped after too many failures.
func Run(ctx context.Context, p Plan, o Options, phones Phones, store *Store, now func() time.Time, report func(Outcome)) error {
	failures, disturbed := 0, false
	for begin := 0; begin < len(p.Changes); begin += o.Batch {
		if disturbed && o.Pause > 0 {
			select {
			case <-time.After(o.Pause):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if o.Open != nil && !o.Open(now()) {
			return ErrClosed
		}
		batch := p.Changes[begin:min(begin+o.Batch, len(p.Changes))]
		outcomes := make([]Outcome, len(batch))
		var work sync.WaitGroup
		for i, c := range batch {
			work.Go(func() { outcomes[i] = tell(ctx, c, o, phones) })
		}
		work.Wait()
		disturbed = false
		for _, outcome := range outcomes {
			disturbed = disturbed || outcome.Result == Fetched || outcome.Result == Failed
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if done(outcome.Result) {
				if err := store.Note(ctx, outcome.Change, now()); err != nil {
					return fmt.Errorf("noting %s: %w", outcome.Change.MAC, err)
				}
			} else if outcome.Result == Failed {
				failures++
			}
			report(outcome)
		}
		if failures > 0 && failures >= o.MaxFailures {
			return ErrStopped
		}
	}
	return nil
}

var (
	// ErrStopped means that too many phones failed.
	ErrStopped = errors.New("stopped after too many failures")
	// ErrClosed means that the maintenance window has ended; the rest stays in
	// the next plan.
	ErrClosed = errors.New("the maintenance window has ended")
)

func tell(ctx context.Context, c Change, o Options, phones Phones) Outcome {
	outcome := Outcome{Change: c}
	if c.Kind == Gone {
		outcome.Result = Removed
		return outcome
	}
	state := phones.State(c.MAC, c.Extension)
	switch {
	case !state.Enrolled:
		outcome.Result = NotEnrolled
		return outcome
	case state.Registered && state.InCall:
		outcome.Result = InCall
		return outcome
	}
	if c.Rotates {
		if err := phones.Rotate(ctx, c.Extension); err != nil {
			outcome.Result, outcome.Detail = Failed, err.Error()
			return outcome
		}
	}
	if !state.Registered {
		outcome.Result = Offline // it gets its file, and its new password, when it asks next
		return outcome
	}
	fetched := phones.Fetched(c.MAC)
	if err := phones.Resync(ctx, c.Extension, c.file.Resync.Event); err != nil {
		outcome.Result, outcome.Detail = Failed, err.Error()
		return outcome
	}
	patience := time.NewTimer(o.Patience)
	defer patience.Stop()
	select {
	case <-fetched:
		outcome.Result = Fetched
	case <-patience.C:
		outcome.Result, outcome.Detail = Failed, "was told and did not come for its file"
	case <-ctx.Done():
		outcome.Result, outcome.Detail = Failed, ctx.Err().Error()
	}
	return outcome
}
