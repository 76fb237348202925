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
	Passwords Reason = "passwords" // wrong passwords, or users that do not exist
	Accounts  Reason = "accounts"  // failures for many different accounts
	Strangers Reason = "strangers" // requests in the names of users that do not exist
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

// standing is what is known of a source from elsewhere.
type standing struct {
	address bool // phones or gateways are there
	flow    bool // a phone is registered over this very port or connection
}

// tally counts failures within a window and remembers the ban that came of them.
type tally struct {
	begun     time.Time
	tries     int
	strangers int
	accounts  []uint64 // hashes of those it failed for, a few
	asked     []asked  // users it asked for, whose challenge it has not answered
	options   int      // OPTIONS since probing
	probing   time.Time
	good      time.Time
	ban       Ban
}

// asked is a user that somebody without credentials asked for.
type asked struct {
	user uint64 // a hash
	at   time.Time
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
	// answerTime is how long the answer to a challenge may take before the question counts as one of a scan: T1, in
	// which the round trip of any phone fits. Half of the questions must be older, so that phones which start all at
	// once, behind a proxy, are no scan.
	answerTime = 500 * time.Millisecond
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
	c.sources.at(stack.SourceKey(remote.Addr())).good = now
	c.flows.at(remote).good = now
	*c.passes.at(pass{remote, account}) = now
}

// failed counts a wrong password or an unknown user and returns the bans that follow.
func (c *core) failed(now time.Time, remote netip.AddrPort, account string, st standing) []Ban {
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

// stranger counts a request in the name of a user that does not exist and has not shown credentials.
func (c *core) stranger(now time.Time, remote netip.AddrPort, st standing) []Ban {
	if c.exempt(stack.SourceKey(remote.Addr())) {
		return nil
	}
	src := c.count(now, c.sources.at(stack.SourceKey(remote.Addr())))
	src.strangers++
	return c.judge(now, remote, "", st, src, Strangers, 1)
}

// scanner counts a request of a program that is known for scanning.
func (c *core) scanner(now time.Time, remote netip.AddrPort, st standing) []Ban {
	if c.exempt(stack.SourceKey(remote.Addr())) {
		return nil
	}
	weight := max(1, c.config.Tries/scannerWeight)
	src := c.count(now, c.sources.at(stack.SourceKey(remote.Addr())))
	src.tries += weight
	return c.judge(now, remote, "", st, src, Scanner, weight)
}

// asks counts a question without credentials for a user; known ones and others look the same. A phone asks for its own
// and answers the challenge, then it is answered; whoever goes through the numbers does not.
func (c *core) asks(now time.Time, remote netip.AddrPort, user string, who func() standing) []Ban {
	return c.suspect(now, remote, who, Scan, func(t *tally) bool {
		h := maphash.String(c.seed, user)
		if !slices.ContainsFunc(t.asked, func(a asked) bool { return a.user == h }) && len(t.asked) < 2*c.config.Tries {
			t.asked = append(t.asked, asked{h, now})
		}
		old := slices.IndexFunc(t.asked, func(a asked) bool { return now.Sub(a.at) < answerTime })
		if old < 0 {
			old = len(t.asked)
		}
		return len(t.asked) >= c.config.Tries && old >= len(t.asked)/2
	})
}

// answered takes a question back: there were credentials for the user.
func (c *core) answered(remote netip.AddrPort, user string) {
	h := maphash.String(c.seed, user)
	forget := func(t *tally) {
		if t != nil {
			t.asked = slices.DeleteFunc(t.asked, func(a asked) bool { return a.user == h })
		}
	}
	forget(c.sources.entries[stack.SourceKey(remote.Addr())])
	forget(c.flows.entries[remote])
}

// options counts an OPTIONS outside of calls, which everybody gets an answer to.
func (c *core) options(now time.Time, remote netip.AddrPort, who func() standing) []Ban {
	return c.suspect(now, remote, who, Flood, func(t *tally) bool {
		if now.Sub(t.probing) > optionsSpan {
			t.probing, t.options = now, 0
		}
		t.options++
		return t.options > mostOptions
	})
}

// suspect counts what is no failure, for the address and for the port or connection, and bans who has done too much of
// it: the address, or of one with phones the port or connection. Who is there is asked only then.
func (c *core) suspect(now time.Time, remote netip.AddrPort, who func() standing, why Reason, full func(t *tally) bool) []Ban {
	source := stack.SourceKey(remote.Addr())
	src, flow := c.count(now, c.sources.at(source)), c.count(now, c.flows.at(remote))
	if within(now, flow.good, trusted) {
		return nil
	}
	whole, part := full(src), full(flow)
	if !whole && !part || c.exempt(source) {
		return nil
	}
	st := who()
	t, b := src, Ban{Kind: Address, Source: source, Reason: why}
	if st.address || within(now, src.good, trusted) {
		t, b, whole = flow, Ban{Kind: Flow, Source: source, Flow: remote, Reason: why}, part
	}
	if st.flow || !whole || t.ban.Until.After(now) {
		return nil
	}
	b.Tries = max(len(t.asked), t.options)
	return []Ban{c.strike(now, t, b)}
}

// count begins a new window when the last one is over.
func (c *core) count(now time.Time, t *tally) *tally {
	if now.Sub(t.begun) > c.config.Window {
		t.begun, t.tries, t.strangers, t.accounts, t.asked = now, 0, 0, nil, nil
	}
	return t
}

func (c *core) judge(now time.Time, remote netip.AddrPort, account string, st standing, src *tally, reason Reason, weight int) []Ban {
	full := src.tries >= c.config.Tries || src.strangers > c.config.Tries
	if many := max(2, c.config.Tries/2); !full && len(src.accounts) >= many {
		full, reason = true, Accounts
	}
	source := stack.SourceKey(remote.Addr())
	if !st.address && !within(now, src.good, trusted) {
		if !full || src.ban.Until.After(now) {
			return nil
		}
		return []Ban{c.strike(now, src, Ban{Kind: Address, Source: source, Tries: max(src.tries, src.strangers), Reason: reason})}
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
	if st.flow || within(now, flow.good, trusted) || flow.ban.Until.After(now) {
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
