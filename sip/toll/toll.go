// Package toll keeps calls outside within limits: how many calls a terminal makes within an hour, at once and to how
// many different numbers, for each kind of call (local, long-distance, international), and the same for a trunk. What
// is over a limit is refused, counted, written to the audit log and shown as an alarm: a stolen password must not
// become a bill.
//
// A call is counted when it is made, answered or not, for the terminal that makes it or had it sent outside (a forward,
// a transfer), and for each trunk that is tried. The hour slides. It survives a restart: rows of the last hour are in
// SQLite, written 100 ms behind; calls at once come back with the calls themselves. The limits are the number plan's and
// are asked for each time, so that a reload counts at once. Emergency calls never get here.
//
// It does not decide which numbers are forbidden (sip/dialplan does), nor how many calls a trunk can carry (max_calls).
//
// A Ledger is safe for concurrent use; one lock guards it, held without waiting for anything.
//
//	ledger, err := toll.Open(ctx, toll.Options{DB: db, Limits: plan, Audit: record, Log: log})
//	err = ledger.Claim("call-1", toll.Account{toll.Terminal, "8001", dialplan.International}, "", "+12025550100")
//	ledger.Release("call-1")
package toll

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"linehall/internal/observe"
	"linehall/sip/dialplan"
)

// Limits says how much is allowed; it is asked at each call, and must not block.
type Limits interface {
	TerminalLimit(class string, t dialplan.Toll) dialplan.LimitConfig
	TrunkLimit(trunk string, t dialplan.Toll) dialplan.LimitConfig
}

// Options are the parts of a Ledger.
type Options struct {
	DB     *sql.DB // with Schema applied; nil keeps nothing over a restart
	Limits Limits
	// Audit writes a streak of refusals to the audit log: at its beginning, and every ten minutes while it goes on. May be nil.
	Audit      func(ctx context.Context, r Refusals) error
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Refusals are the calls of an account that were refused, as people are told of them.
type Refusals struct {
	Refused           // the last one
	Since   time.Time // of the streak
	Last    time.Time
	Count   int // in the streak
}

// streak is a row of refusals without a longer pause.
type streak struct {
	Refusals
	audited int // refusals that the audit log knows
	told    time.Time
}

const (
	// streakPause ends a streak, and its alarm.
	streakPause = 10 * time.Minute
	writeEvery  = 100 * time.Millisecond
	sweepEvery  = time.Minute
)

// Ledger is the account of calls outside.
type Ledger struct {
	o       Options
	log     *slog.Logger
	store   store
	refused *prometheus.CounterVec

	mu      sync.Mutex // guards what follows
	book    *book
	streaks map[Account]*streak
	unsaved []row

	wake chan struct{} // capacity 1
}

// Open reads the calls of the last hour. It starts nothing.
func Open(ctx context.Context, o Options) (*Ledger, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	l := &Ledger{
		o: o, log: o.Log, store: store{o.DB}, book: newBook(), streaks: map[Account]*streak{}, wake: make(chan struct{}, 1),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "linehall_calls_toll_refused_total", Help: "Calls outside, or ways that they could have taken, refused by a limit against fraud.",
		}, []string{"reason"}),
	}
	for _, reason := range []Reason{PerHour, AtOnce, Numbers} {
		l.refused.WithLabelValues(string(reason))
		l.refused.WithLabelValues(label(Trunk, reason))
	}
	l.refused.WithLabelValues(string(Forbidden))
	rows, err := l.store.load(ctx, time.Now().Add(-span))
	if err != nil {
		return nil, fmt.Errorf("toll limits: %w", err)
	}
	for _, r := range rows {
		l.book.note(r.Account, r.made)
	}
	if o.Registerer != nil {
		o.Registerer.MustRegister(l.refused)
	}
	return l, nil
}

func label(kind Kind, reason Reason) string {
	if kind == Trunk {
		return "trunk_" + string(reason)
	}
	return string(reason)
}

// limit is what the configuration in use allows an account; class is that of a terminal.
func (l *Ledger) limit(a Account, class string) dialplan.LimitConfig {
	if a.Kind == Trunk {
		return l.o.Limits.TrunkLimit(a.Name, a.Toll)
	}
	return l.o.Limits.TerminalLimit(class, a.Toll)
}

// Claim counts a call to a number for an account, unless it is over a limit: then the error is a *Refused. class is the
// terminal's. Calls that go nowhere dear are free.
func (l *Ledger) Claim(call string, a Account, class, number string) error {
	limit := l.limit(a, class)
	if a.Toll == "" || a.Name == "" {
		return nil
	}
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	counted, refused := l.book.claim(now, call, a, number, limit)
	if refused != nil {
		l.refuse(now, call, *refused)
		return refused
	}
	if counted {
		l.unsaved = append(l.unsaved, row{a, made{now, number}})
		l.nudge()
	}
	return nil
}

// Forbid notes a call that the number plan has forbidden, and returns its refusal.
func (l *Ledger) Forbid(call string, a Account, number string) error {
	r := Refused{Account: a, Number: number, Reason: Forbidden}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refuse(time.Now(), call, r)
	return &r
}

func (l *Ledger) refuse(now time.Time, call string, r Refused) {
	l.refused.WithLabelValues(label(r.Account.Kind, r.Reason)).Inc()
	l.log.Warn("call outside refused by a limit", slog.String(observe.CallID, call), slog.String("kind", string(r.Account.Kind)), slog.String("name", r.Account.Name),
		slog.String("toll", string(r.Account.Toll)), slog.String("to", r.Number), slog.String(observe.Reason, string(r.Reason)), slog.Int("most", r.Most))
	s := l.streaks[r.Account]
	if s == nil || now.Sub(s.Last) >= streakPause {
		s = &streak{Refusals: Refusals{Since: now}}
		l.streaks[r.Account] = s
	}
	s.Refused, s.Last = r, now
	s.Count++
	l.nudge()
}

func (l *Ledger) nudge() {
	select {
	case l.wake <- struct{}{}:
	default: // Run will look anyway
	}
}

// Leave ends a call's way over a trunk; the call may go on over another one.
func (l *Ledger) Leave(call, trunk string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.book.leave(call, trunk)
}

// Release is the end of a call.
func (l *Ledger) Release(call string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.book.release(call)
}

// Move gives what a call holds to the call that goes on with its party.
func (l *Ledger) Move(from, to string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.book.move(from, to)
}

// Held lists the accounts that a call counts for now, for its saved state; Resume takes them up after a restart.
func (l *Ledger) Held(call string) []Account {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.book.accounts(call)
}

// Resume counts a call of before the restart among those at once. Its hour has been read already.
func (l *Ledger) Resume(call string, accounts []Account) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.book.resume(call, accounts)
}

// Standing is an account beside its limit.
type Standing struct {
	Account
	Limit dialplan.LimitConfig
	Use   Use
	Over  *Refused // what a call to the number asked for would hear now; nil: it may be made
}

// Look says how a terminal of a class and trunks stand, and whether a call to number would be made now.
func (l *Ledger) Look(terminal, class string, trunks []string, t dialplan.Toll, number string) []Standing {
	accounts := []Account{{Terminal, terminal, t}}
	for _, name := range trunks {
		accounts = append(accounts, Account{Trunk, name, t})
	}
	now := time.Now()
	var list []Standing
	for _, a := range accounts {
		limit := l.limit(a, class)
		l.mu.Lock()
		use, over := l.book.judge(now, a, number, limit)
		l.mu.Unlock()
		list = append(list, Standing{a, limit, use, over})
	}
	return list
}

// Refusing lists the accounts of which calls were refused within the last ten minutes, for alarms.
func (l *Ledger) Refusing() []Refusals {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []Refusals
	for _, s := range l.streaks {
		if now.Sub(s.Last) < streakPause {
			list = append(list, s.Refusals)
		}
	}
	slices.SortFunc(list, func(a, b Refusals) int { return sortAccounts(a.Account, b.Account) })
	return list
}

// Run writes the hour and the audit log until ctx ends, and then what is left.
func (l *Ledger) Run(ctx context.Context) error {
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	var before time.Time
	for {
		l.flush(context.WithoutCancel(ctx), before)
		before = time.Time{}
		select {
		case <-ctx.Done():
			l.flush(context.WithoutCancel(ctx), before)
			return ctx.Err()
		case <-sweep.C:
			before = l.sweep()
			continue
		case <-l.wake:
		}
		select { // a burst is one transaction
		case <-ctx.Done():
		case <-time.After(writeEvery):
		}
	}
}

// sweep forgets what is over and returns the moment before which rows are.
func (l *Ledger) sweep() time.Time {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.book.sweep(now)
	for a, s := range l.streaks {
		if now.Sub(s.Last) >= streakPause && s.audited == s.Count {
			delete(l.streaks, a)
		}
	}
	return now.Add(-span)
}

// flush writes what has come together. What the database refuses is tried again with the next call.
func (l *Ledger) flush(ctx context.Context, before time.Time) {
	now := time.Now()
	l.mu.Lock()
	rows := l.unsaved
	l.unsaved = nil
	var tell []Refusals
	for _, s := range l.streaks {
		if s.audited < s.Count && (s.audited == 0 || now.Sub(s.told) >= streakPause || now.Sub(s.Last) >= streakPause) {
			tell = append(tell, s.Refusals)
			s.audited, s.told = s.Count, now
		}
	}
	l.mu.Unlock()
	if len(rows) > 0 || !before.IsZero() {
		if err := l.store.save(ctx, rows, before); err != nil {
			l.log.Error("calls outside not written: a restart would not count them", slog.Any(observe.Err, err))
			l.mu.Lock()
			l.unsaved = append(rows, l.unsaved...)
			l.unsaved = l.unsaved[max(0, len(l.unsaved)-mostKept):]
			l.mu.Unlock()
		}
	}
	if l.o.Audit == nil {
		return
	}
	for _, r := range tell {
		if err := l.o.Audit(ctx, r); err != nil {
			l.log.Error("refused calls not recorded in the audit log", slog.Any(observe.Err, err))
		}
	}
}
