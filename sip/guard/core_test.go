package guard

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"linehall/internal/auth"
)

var (
	begin  = time.Date(2026, 1, 1, 8, 0, 0, 0, time.UTC)
	config = auth.DefaultConfig().SIP
)

func from(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), uint16(5000+n)) //nolint:gosec // small
}

// try fails until something is shut out and returns after how many tries that was.
func try(c *core, fail func(i int) []Ban) (int, []Ban) {
	for i := range 100 {
		if bans := fail(i); len(bans) > 0 {
			return i + 1, bans
		}
	}
	return 0, nil
}

func TestWhoIsShutOut(t *testing.T) {
	t.Parallel()
	phones, phone := Standing{Address: true}, Standing{Address: true, Flow: true}
	for _, v := range []struct {
		name   string
		before func(c *core)
		fail   func(c *core, i int) []Ban
		tries  int // 0: never
		kind   Kind
		reason Reason
	}{
		{"one account", nil, func(c *core, i int) []Ban { return c.failed(begin, from(i), "8001", Standing{}) }, 20, Address, Passwords},
		{"many accounts", nil, func(c *core, i int) []Ban { return c.failed(begin, from(0), fmt.Sprint(i), Standing{}) }, 10, Address, Accounts},
		{"a scanner", nil, func(c *core, i int) []Ban { return c.scanner(begin, from(0), Standing{}) }, 2, Address, Scanner},
		{"slower than the window", nil, func(c *core, i int) []Ban {
			return c.failed(begin.Add(time.Duration(i)*11*time.Minute), from(0), "8001", Standing{})
		}, 0, "", ""},
		{"a scanner beside phones", nil, func(c *core, i int) []Ban { return c.scanner(begin, from(0), phones) }, 2, Flow, Scanner},
		{"many accounts beside phones", nil, func(c *core, i int) []Ban { return c.failed(begin, from(0), fmt.Sprint(i), phones) }, 10, Flow, Accounts},
		{"one account beside phones", nil, func(c *core, i int) []Ban { return c.failed(begin, from(0), "8001", phones) }, 5, Account, Passwords},
		{"a phone with a wrong second account", nil, func(c *core, i int) []Ban { return c.failed(begin, from(0), fmt.Sprint(i), phone) }, 0, "", ""},
		{
			"an address that was right lately", func(c *core) { c.succeeded(begin, from(9), "8009") },
			func(c *core, i int) []Ban { return c.failed(begin.Add(time.Hour), from(0), fmt.Sprint(i), Standing{}) }, 10, Flow, Accounts,
		},
		{
			"an address that was right long ago", func(c *core) { c.succeeded(begin, from(9), "8009") },
			func(c *core, i int) []Ban {
				return c.failed(begin.Add(3*time.Hour), from(0), fmt.Sprint(i), Standing{})
			}, 10, Address, Accounts,
		},
		{
			"allowed", func(c *core) { c.config.Allow = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} },
			func(c *core, i int) []Ban { return c.failed(begin, from(0), "8001", Standing{}) }, 0, "", "",
		},
	} {
		c := newCore(config, 100)
		if v.before != nil {
			v.before(c)
		}
		tries, bans := try(c, func(i int) []Ban { return v.fail(c, i) })
		if tries != v.tries || v.tries > 0 && (bans[0].Kind != v.kind || bans[0].Reason != v.reason) {
			t.Errorf("%s: after %d tries %+v, want %s for %s after %d", v.name, tries, bans, v.kind, v.reason, v.tries)
		}
	}
}

// Whoever asks for one number after the other and answers no challenge is a scanner, and so is who floods us with OPTIONS.
// Phones that start, watch many lamps or share an address with a scanner are not.
func TestScans(t *testing.T) {
	t.Parallel()
	who := func(st Standing) func() Standing { return func() Standing { return st } }
	at := func(i int, every time.Duration) time.Time { return begin.Add(time.Duration(i) * every) }
	const quick, slow = 50 * time.Millisecond, time.Second
	ask := func(every time.Duration, port func(i int) int, st Standing) func(c *core, i int) []Ban {
		return func(c *core, i int) []Ban {
			return c.challenged(at(i, every), from(port(i)), c.hash("", fmt.Sprint(8001+i)), who(st))
		}
	}
	one, each := func(int) int { return 0 }, func(i int) int { return i }
	for _, v := range []struct {
		name   string
		ask    func(c *core, i int) []Ban
		tries  int // 0: never
		kind   Kind
		reason Reason
	}{
		{"one number after the other", ask(slow, one, Standing{}), 20, Address, Scan},
		{"from a new port each", ask(slow, each, Standing{}), 20, Address, Scan},
		{"beside phones", ask(slow, one, Standing{Address: true}), 20, Flow, Scan},
		{"many phones that start at once", ask(0, each, Standing{}), 0, "", ""},
		{"behind a proxy", ask(0, one, Standing{}), 0, "", ""},
		{"phones beside a scanner", ask(quick, each, Standing{Address: true}), 0, "", ""},
		{"lamps of a phone", ask(quick, one, Standing{Address: true, Flow: true}), 0, "", ""},
		{"slower than the window", ask(time.Minute, one, Standing{}), 0, "", ""},
		{"the same number again and again", func(c *core, i int) []Ban {
			return c.challenged(at(i, slow), from(0), c.hash("", "8001"), who(Standing{}))
		}, 20, Address, Scan},
		{"OPTIONS for one number after the other", func(c *core, i int) []Ban { return c.probed(at(i, slow), from(0), fmt.Sprint(8001+i), who(Standing{})) }, 20, Address, Scan},
		{"a phone without its password", func(c *core, i int) []Ban {
			return c.challenged(at(i, 10*time.Second), from(0), c.hash("", "8001"), who(Standing{}))
		}, 0, "", ""},
		{"phones that answer", func(c *core, i int) []Ban {
			what := c.hash("", fmt.Sprint(8001+i))
			bans := c.challenged(at(i, quick), from(0), what, who(Standing{}))
			c.answered(from(0), what)
			return bans
		}, 0, "", ""},
		{"a flood of OPTIONS", func(c *core, i int) []Ban { return c.probed(at(i, quick), from(i), "", who(Standing{})) }, 21, Address, Flood},
		{"beside phones", func(c *core, i int) []Ban { return c.probed(at(i, quick), from(0), "", who(Standing{Address: true})) }, 21, Flow, Flood},
		{"a monitor", func(c *core, i int) []Ban { return c.probed(at(i, time.Second), from(0), "8001", who(Standing{})) }, 0, "", ""},
		{"keep-alives of many phones", func(c *core, i int) []Ban { return c.probed(at(i, quick), from(i), "", who(Standing{Address: true})) }, 0, "", ""},
	} {
		c := newCore(config, 1000)
		tries, bans := try(c, func(i int) []Ban { return v.ask(c, i) })
		if tries != v.tries || v.tries > 0 && (bans[0].Kind != v.kind || bans[0].Reason != v.reason) {
			t.Errorf("%s: after %d tries %+v, want %s for %s after %d", v.name, tries, bans, v.kind, v.reason, v.tries)
		}
	}
	c := newCore(config, 1000)
	c.succeeded(begin, from(0), "8001")
	if tries, bans := try(c, func(i int) []Ban { return ask(quick, one, Standing{})(c, i) }); tries != 0 {
		t.Errorf("a port where a password was right: %+v", bans)
	}
}

// Who takes a new port for each guess is shut out by the first failure of each, once the address is known for it.
func TestNewPortsBesidePhones(t *testing.T) {
	t.Parallel()
	c := newCore(config, 100)
	for i := range 20 {
		c.failed(begin, from(i), fmt.Sprint(i), Standing{Address: true})
	}
	if bans := c.failed(begin, from(50), "1234", Standing{Address: true}); len(bans) != 1 || bans[0].Flow != from(50) {
		t.Errorf("a new port got %+v", bans)
	}
	if bans := c.failed(begin, from(51), "1234", Standing{Address: true, Flow: true}); len(bans) != 0 {
		t.Errorf("a registered phone got %+v", bans)
	}
}

// An account that is guessed at an address is locked there, but not for the phone that it belongs to.
func TestLockedAccounts(t *testing.T) {
	t.Parallel()
	c := newCore(config, 100)
	c.succeeded(begin, from(1), "8001")
	for range 5 {
		c.failed(begin, from(2), "8001", Standing{Address: true})
	}
	other := netip.MustParseAddrPort("192.0.2.2:5060")
	for _, v := range []struct {
		at      time.Duration
		remote  netip.AddrPort
		account string
		want    bool
	}{
		{0, from(2), "8001", true},
		{0, from(3), "8001", true},
		{0, from(1), "8001", false},
		{0, from(2), "8002", false},
		{0, other, "8001", false},
		{11 * time.Minute, from(2), "8001", false},
	} {
		if got := c.locked(begin.Add(v.at), v.remote, v.account); got != v.want {
			t.Errorf("%s from %s after %s: locked %v", v.account, v.remote, v.at, got)
		}
	}
}

func TestBansDouble(t *testing.T) {
	t.Parallel()
	c, now := newCore(config, 100), begin
	for i, want := range []time.Duration{10, 20, 40, 80, 160, 320, 640, 1280, 1440, 1440} {
		_, bans := try(c, func(int) []Ban { return c.failed(now, from(0), "8001", Standing{}) })
		if len(bans) != 1 || bans[0].Until.Sub(now) != want*time.Minute {
			t.Fatalf("ban %d is %+v, want %d minutes", i, bans, want)
		}
		now = bans[0].Until.Add(time.Second)
	}
	now = now.Add(25 * time.Hour)
	if _, bans := try(c, func(int) []Ban { return c.failed(now, from(0), "8001", Standing{}) }); bans[0].Until.Sub(now) != 10*time.Minute {
		t.Errorf("after a quiet day %+v", bans)
	}
}

func TestTablesAreBounded(t *testing.T) {
	t.Parallel()
	c := newCore(config, 50)
	addr := netip.MustParseAddr("10.0.0.1")
	for i := range 5000 {
		addr = addr.Next()
		remote := netip.AddrPortFrom(addr, 5060)
		c.succeeded(begin, remote, fmt.Sprint(i))
		for range 25 {
			c.failed(begin, remote, fmt.Sprint(i), Standing{Address: true})
		}
	}
	if n := max(len(c.sources.entries), len(c.flows.entries), len(c.locks.entries), len(c.passes.entries)); n != 50 {
		t.Errorf("%d entries", n)
	}
	six := func(s string) netip.AddrPort { return netip.AddrPortFrom(netip.MustParseAddr(s), 5060) }
	tries, _ := try(c, func(i int) []Ban { return c.failed(begin, six(fmt.Sprintf("2001:db8::%x", i+1)), "8001", Standing{}) })
	if tries != 20 {
		t.Errorf("a source of many IPv6 addresses was banned after %d tries", tries)
	}
}
