package toll

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"linehall/sip/dialplan"
)

// Kind says who is limited.
type Kind string

// The kinds.
const (
	Terminal Kind = "terminal" // the extension that makes the call, or had it sent outside
	Trunk    Kind = "trunk"    // all calls over it
)

// Account is what calls are counted for: one kind of calls of one terminal, or over one trunk. The number plan and the
// configuration close the set.
type Account struct {
	Kind Kind          `json:"kind"`
	Name string        `json:"name"`
	Toll dialplan.Toll `json:"toll"`
}

// Reason says which limit a call is over.
type Reason string

// The reasons; those of a trunk are told apart in the metric.
const (
	PerHour   Reason = "calls_per_hour"
	AtOnce    Reason = "at_once"
	Numbers   Reason = "numbers_per_hour"
	Forbidden Reason = "forbidden"
)

// Refused is the error for a call that is over a limit.
type Refused struct {
	Account Account
	Number  string
	Reason  Reason
	Most    int
}

// Error says it for a display and for a call's record.
func (r *Refused) Error() string {
	who := "of this telephone"
	if r.Account.Kind == Trunk {
		who = "of the trunk " + r.Account.Name
	}
	kind := map[dialplan.Toll]string{dialplan.Local: "local", dialplan.LongDistance: "long-distance", dialplan.International: "international"}[r.Account.Toll]
	switch r.Reason {
	case PerHour:
		return fmt.Sprintf("Limit %s: %d %s calls per hour", who, r.Most, kind)
	case AtOnce:
		return fmt.Sprintf("Limit %s: %d %s calls at once", who, r.Most, kind)
	case Numbers:
		return fmt.Sprintf("Limit %s: %d different %s numbers per hour", who, r.Most, kind)
	case Forbidden:
	}
	return "This number is forbidden: calls there are used for fraud"
}

// Use is how much of its limit an account has used.
type Use struct {
	Calls, Numbers int // within the last hour
	Now            int // at this moment
}

const (
	// span is the hour of the limits; it slides.
	span = time.Hour
	// mostKept bounds what an account without a limit keeps of its calls.
	mostKept = 10000
)

// made is one call that was counted.
type made struct {
	at     time.Time
	number string
}

// held is a call that an account carries.
type held struct {
	account Account
	number  string
	now     bool // it counts among the calls at once; false: it has ended there, and is not counted twice
}

// hour is what an account has counted within the last one.
type hour struct {
	calls   []made         // the oldest first
	numbers map[string]int // how often each was called
}

// book counts; it is not safe for concurrent use and knows no clock.
type book struct {
	hours map[Account]*hour
	now   map[Account]int
	held  map[string][]held // by call
}

func newBook() *book {
	return &book{hours: map[Account]*hour{}, now: map[Account]int{}, held: map[string][]held{}}
}

// forget drops the n oldest calls.
func (h *hour) forget(n int) {
	for _, m := range h.calls[:n] {
		if h.numbers[m.number]--; h.numbers[m.number] <= 0 {
			delete(h.numbers, m.number)
		}
	}
	h.calls = slices.Delete(h.calls, 0, n)
}

// recent forgets what is older than an hour and returns the rest; nil when there is none.
func (b *book) recent(now time.Time, a Account) *hour {
	h := b.hours[a]
	if h == nil {
		return nil
	}
	old := 0
	for old < len(h.calls) && now.Sub(h.calls[old].at) >= span {
		old++
	}
	h.forget(old)
	if len(h.calls) == 0 {
		delete(b.hours, a)
		return nil
	}
	return h
}

// judge sums an account up, and says which limit one more call to number would be over.
func (b *book) judge(now time.Time, a Account, number string, limit dialplan.LimitConfig) (Use, *Refused) {
	use, known := Use{Now: b.now[a]}, false
	if h := b.recent(now, a); h != nil {
		use.Calls, use.Numbers, known = len(h.calls), len(h.numbers), h.numbers[number] > 0
	}
	switch {
	case limit.AtOnce > 0 && use.Now >= limit.AtOnce:
		return use, &Refused{a, number, AtOnce, limit.AtOnce}
	case limit.CallsPerHour > 0 && use.Calls >= limit.CallsPerHour:
		return use, &Refused{a, number, PerHour, limit.CallsPerHour}
	case limit.NumbersPerHour > 0 && !known && use.Numbers >= limit.NumbersPerHour:
		return use, &Refused{a, number, Numbers, limit.NumbersPerHour}
	}
	return use, nil
}

// claim counts a call, or says why it must not be made. A call that an account has counted already is counted once:
// the next gateway, or the next way to the same number, is no other call.
func (b *book) claim(now time.Time, call string, a Account, number string, limit dialplan.LimitConfig) (counted bool, err *Refused) {
	mine := b.held[call]
	at := slices.IndexFunc(mine, func(h held) bool { return h.account == a && h.number == number })
	if at >= 0 && mine[at].now {
		return false, nil
	}
	if _, refused := b.judge(now, a, number, limit); refused != nil && (at < 0 || refused.Reason == AtOnce) {
		return false, refused
	}
	b.now[a]++
	if at >= 0 {
		mine[at].now = true
		return false, nil
	}
	b.note(a, made{now, number})
	b.held[call] = append(mine, held{a, number, true})
	return true, nil
}

// note adds a call to an account's hour.
func (b *book) note(a Account, m made) {
	h := b.hours[a]
	if h == nil {
		h = &hour{numbers: map[string]int{}}
		b.hours[a] = h
	}
	h.calls = append(h.calls, m)
	h.numbers[m.number]++
	h.forget(max(0, len(h.calls)-mostKept))
}

// leave ends a call over a trunk that may go on over another way.
func (b *book) leave(call, trunk string) {
	for i := range b.held[call] {
		if h := &b.held[call][i]; h.now && h.account.Kind == Trunk && h.account.Name == trunk {
			h.now = false
			b.less(h.account)
		}
	}
}

func (b *book) less(a Account) {
	if b.now[a]--; b.now[a] <= 0 {
		delete(b.now, a)
	}
}

// release is the end of a call.
func (b *book) release(call string) {
	for _, h := range b.held[call] {
		if h.now {
			b.less(h.account)
		}
	}
	delete(b.held, call)
}

// move gives what one call holds to another that goes on with its party.
func (b *book) move(from, to string) {
	if mine := b.held[from]; len(mine) > 0 && from != to {
		b.held[to] = append(b.held[to], mine...)
		delete(b.held, from)
	}
}

// resume takes up a call of before a restart.
func (b *book) resume(call string, accounts []Account) {
	for _, a := range accounts {
		b.held[call] = append(b.held[call], held{account: a, now: true})
		b.now[a]++
	}
}

// accounts lists what a call holds now.
func (b *book) accounts(call string) []Account {
	var list []Account
	for _, h := range b.held[call] {
		if h.now {
			list = append(list, h.account)
		}
	}
	return list
}

// sweep forgets accounts whose hour is over.
func (b *book) sweep(now time.Time) {
	for a := range b.hours {
		b.recent(now, a)
	}
}

// sortAccounts puts accounts in an order that people expect.
func sortAccounts(a, b Account) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Toll, b.Toll))
}
