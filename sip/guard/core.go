package guard

import (
	"cmp"
	"hash/maphash"
	"net/netip"
	"slices"
	"time"

	"linehall/internal/auth"
	"linehall/sip/stack"
)

// Kind says what is shut out.
type Kind string

// What a ban can be of.
const (
	Address Kind = "address" // everything from a source
	Flow    Kind = "flow"    // one port or connection of a source that has phones
	Account Kind = "account" // one account for a source that has phones
)

// Reason says what somebody is shut out for.
type Reason string

// Reasons of bans.
const (
	Passwords Reason = "passwords" // wrong passwords, or those of users that do not exist
	Accounts  Reason = "accounts"  // failures for many different accounts
	Scanner   Reason = "scanner"   // a program that is known for scanning
	Scan      Reason = "scan"      // asked for one user after the other and answered no challenge
	Flood     Reason = "flood"     // OPTIONS faster than anybody has use for
)

// Ban is one source, flow or account of a source that is shut out.
type Ban struct {
	Kind    Kind
	Source  netip.Addr     // an IPv6 source is its /64
	Flow    netip.AddrPort // with kind Flow
	Account string         // with kind Account
	Since   time.Time
	Until   time.Time
	Tries   int
	Reason  Reason
	level   int // how many came before it
}

// Standing is what is known of a source from elsewhere.
type Standing struct {
	Address bool // phones or gateways are there
	Flow    bool // a phone is registered over this very port or connection
	Gateway bool // it is a gateway's: its calls are not challenged
}

// tally counts failures within a window and remembers the ban that came of them.
type tally struct {
	begun    time.Time
	tries    int
	accounts []uint64   // hashes of those it failed for, a few
	asked    []question // without an answer
	extra    int        // more than the usual number of questions may be under way
	options  int        // OPTIONS since probing
	probing  time.Time
	good     time.Time
	ban      Ban
}

// pair is an account as seen from a source.
type pair struct {
	source  netip.Addr
	account string
}

// pass is an account that was right over a flow.
type pass struct {
	flow    netip.AddrPort
	account string
}

const (
	// trusted is how long a right password speaks for where it came from: longer than phones wait to register again.
	trusted = 2 * time.Hour
	// remembered is how long the last ban makes the next one longer.
	remembered = 24 * time.Hour
	// scannerWeight is what a request of a known scanner counts for, relative to the tries that are allowed.
	scannerWeight = 2
	// mostOptions within optionsSpan are a flood, from somebody who is not known here: monitors ask every few seconds,
	// and somebody who looks for extensions asks as fast as possible.
	mostOptions = 20
	optionsSpan = 10 * time.Second
)

// core decides; it is not safe for concurrent use and knows no clock.
type core struct {
	config  auth.SIPGuard
	seed    maphash.Seed
	sources *table[netip.Addr, tally]
	flows   *table[netip.AddrPort, tally]
	locks   *table[pair, tally]
	passes  *table[pass, time.Time]
}

func newCore(config auth.SIPGuard, size int) *core {
	return &core{
		config: config, seed: maphash.MakeSeed(),
		sources: newTable[netip.Addr, tally](size), flows: newTable[netip.AddrPort, tally](size),
		locks: newTable[pair, tally](size), passes: newTable[pass, time.Time](size),
	}
}

func (c *core) exempt(source netip.Addr) bool {
	bits := source.BitLen()
	if source.Is6() {
		bits = 64
	}
	whole := netip.PrefixFrom(source, bits)
	return slices.ContainsFunc(c.config.Allow, func(p netip.Prefix) bool { return p.Overlaps(whole) })
}

// succeeded notes a right password.
func (c *core) succeeded(now time.Time, remote netip.AddrPort, account string) {
	src := c.sources.at(stack.SourceKey(remote.Addr()))
	src.good, src.extra = now, min(src.extra+1, mostExtra)
	c.flows.at(remote).good = now
	*c.passes.at(pass{remote, account}) = now
}

// failed counts a wrong password or an unknown user and returns the bans that follow.
func (c *core) failed(now time.Time, remote netip.AddrPort, account string, st Standing) []Ban {
	source := stack.SourceKey(remote.Addr())
	if c.exempt(stack.SourceKey(remote.Addr())) {
		return nil
	}
	src := c.count(now, c.sources.at(source))
	src.tries++
	if h := maphash.String(c.seed, account); len(src.accounts) < c.config.Tries && !slices.Contains(src.accounts, h) {
		src.accounts = append(src.accounts, h)
	}
	return c.judge(now, remote, account, st, src, Passwords, 1)
}

// scanner counts a request of a program that is known for scanning.
func (c *core) scanner(now time.Time, remote netip.AddrPort, st Standing) []Ban {
	if c.exempt(stack.SourceKey(remote.Addr())) {
		return nil
	}
	weight := max(1, c.config.Tries/scannerWeight)
	src := c.count(now, c.sources.at(stack.SourceKey(remote.Addr())))
	src.tries += weight
	return c.judge(now, remote, "", st, src, Scanner, weight)
}

// count begins a new window when the last one is over.
func (c *core) count(now time.Time, t *tally) *tally {
	if now.Sub(t.begun) > c.config.Window {
		t.begun, t.tries, t.accounts, t.asked = now, 0, nil, nil
	}
	return t
}

func (c *core) judge(now time.Time, remote netip.AddrPort, account string, st Standing, src *tally, reason Reason, weight int) []Ban {
	full := src.tries >= c.config.Tries
	if many := max(2, c.config.Tries/2); !full && len(src.accounts) >= many {
		full, reason = true, Accounts
	}
	source := stack.SourceKey(remote.Addr())
	if !st.Address && !within(now, src.good, trusted) {
		if !full || src.ban.Until.After(now) {
			return nil
		}
		return []Ban{c.strike(now, src, Ban{Kind: Address, Source: source, Tries: src.tries, Reason: reason})}
	}
	// Phones are behind this address: whoever of it fails is shut out, the others are not.
	var found []Ban
	if account != "" {
		lock := c.count(now, c.locks.at(pair{source, account}))
		if lock.tries++; lock.tries >= c.lockTries() && !lock.ban.Until.After(now) {
			found = append(found, c.strike(now, lock, Ban{Kind: Account, Source: source, Account: account, Tries: lock.tries, Reason: Passwords}))
		}
	}
	flow := c.count(now, c.flows.at(remote))
	flow.tries += weight
	if st.Flow || within(now, flow.good, trusted) || flow.ban.Until.After(now) {
		return found // several phones may share it, behind a proxy: their accounts are locked one by one
	}
	// Somebody who takes a new port for each try is known by the failures of the address: then the first one is enough.
	if full || flow.tries >= c.config.Tries {
		found = append(found, c.strike(now, flow, Ban{Kind: Flow, Source: source, Flow: remote, Tries: flow.tries, Reason: reason}))
	}
	return found
}

// lockTries is how often one account may fail at an address with phones.
func (c *core) lockTries() int { return max(1, c.config.Tries/4) }

// strike bans, each time in a row for twice as long, and begins to count anew; but a source with phones keeps its count.
func (c *core) strike(now time.Time, t *tally, b Ban) Ban {
	if last := t.ban; !last.Until.IsZero() && now.Sub(last.Until) < remembered {
		b.level = last.level + 1
	}
	length := c.config.Ban
	for range b.level {
		if length *= 2; length >= c.config.MaxBan {
			break
		}
	}
	b.Since, b.Until = now, now.Add(min(length, c.config.MaxBan))
	*t = tally{good: t.good, ban: b}
	return b
}

// locked reports whether an account may not log in over this flow. A flow over which it was right lately is not concerned
// by what others at its address do.
func (c *core) locked(now time.Time, remote netip.AddrPort, account string) bool {
	lock := c.locks.entries[pair{stack.SourceKey(remote.Addr()), account}]
	if lock == nil || !lock.ban.Until.After(now) {
		return false
	}
	at := c.passes.entries[pass{remote, account}]
	return at == nil || !within(now, *at, trusted)
}

// bans lists what is shut out now, the newest first.
func (c *core) bans(now time.Time) []Ban {
	var found []Ban
	add := func(t *tally) {
		if t.ban.Until.After(now) {
			found = append(found, t.ban)
		}
	}
	for _, t := range c.sources.entries {
		add(t)
	}
	for _, t := range c.flows.entries {
		add(t)
	}
	for _, t := range c.locks.entries {
		add(t)
	}
	slices.SortFunc(found, func(a, b Ban) int {
		return cmp.Or(b.Since.Compare(a.Since), a.Source.Compare(b.Source), cmp.Compare(a.Kind, b.Kind), a.Flow.Compare(b.Flow), cmp.Compare(a.Account, b.Account))
	})
	return found
}

// lift forgives a source everything and returns what was shut out of it.
func (c *core) lift(now time.Time, source netip.Addr) []Ban {
	lifted := slices.DeleteFunc(c.bans(now), func(b Ban) bool { return b.Source != source })
	if t := c.sources.entries[source]; t != nil {
		*t = tally{good: t.good}
	}
	for _, b := range lifted {
		switch b.Kind {
		case Flow:
			*c.flows.at(b.Flow) = tally{}
		case Account:
			*c.locks.at(pair{source, b.Account}) = tally{}
		case Address:
		}
	}
	return lifted
}

func within(now, at time.Time, d time.Duration) bool { return !at.IsZero() && now.Sub(at) < d }
