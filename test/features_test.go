package test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"linehall/cmd/linesim/phone"
	"linehall/cmd/linesim/voice"
)

// desks are simulated phones of one appliance.
type desks struct {
	a      *appliance
	ctx    context.Context //nolint:containedctx // the phones live as long as the test
	engine *voice.Engine
	live   *sync.WaitGroup // the telephones
	srtp   bool            // the next ones talk SRTP only
}

// desk is a phone and what a person does at it.
type desk struct {
	*phone.Phone

	t      *testing.T
	alerts chan *phone.Call // own calls that ring

	mu    sync.Mutex // guards what follows
	react phone.Reaction
	rings []phone.Ring
	calls []*phone.Call
}

func newDesks(t *testing.T, a *appliance) *desks {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	d := &desks{a: a, ctx: ctx, engine: voice.NewEngine(0), live: &sync.WaitGroup{}}
	d.live.Go(func() { _ = d.engine.Run(ctx) })
	t.Cleanup(func() { stop(); d.live.Wait() }) // all at once: each unregisters
	return d
}

// at puts a registered phone on the desk of an extension; it rings on until told otherwise.
func (d *desks) at(extension string, host byte) *desk {
	d.a.t.Helper()
	return d.in(0, extension, host)
}

// in is at for a desk in the site with that number in its subnet, 127.0.SITE.0/24.
func (d *desks) in(site byte, extension string, host byte) *desk {
	t := d.a.t
	t.Helper()
	acc := d.a.account(extension)
	return d.registered(phone.Account{Extension: extension, AuthUser: acc.AuthUser, Password: acc.Password, Domain: acc.Domain},
		netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(d.a.ports.sip)), netip.AddrFrom4([4]byte{127, 0, site, host}))
}

// registered is a phone with an account at a server, ours or another one.
func (d *desks) registered(account phone.Account, server netip.AddrPort, bind netip.Addr) *desk {
	t := d.a.t
	t.Helper()
	p := &desk{t: t, react: phone.Reaction{RingFor: -1}, alerts: make(chan *phone.Call, 16)}
	var err error
	p.Phone, err = phone.New(phone.Config{
		Account: account, Server: server, Transport: phone.UDP, Bind: bind, Media: d.engine, SRTP: d.srtp,
		Answer: func(r phone.Ring) phone.Reaction {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.rings = append(p.rings, r)
			return p.react
		},
		OnCall: func(c *phone.Call) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.calls = append(p.calls, c)
		},
		OnAlert: func(c *phone.Call) {
			select {
			case p.alerts <- c:
			default: // nobody looks
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	d.live.Go(func() { _ = p.Run(d.ctx) })
	select {
	case <-p.Registered():
	case <-time.After(15 * time.Second):
		t.Fatalf("%s did not register: %v", account.Extension, p.Status().Err)
	}
	return p
}

func (p *desk) answers(reaction phone.Reaction) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.react = reaction
}

// rung returns and forgets the calls that rang since the last time.
func (p *desk) rung() []phone.Ring {
	p.mu.Lock()
	defer p.mu.Unlock()
	rings := p.rings
	p.rings = nil
	return rings
}

// code dials a feature code and returns what the display shows; a refusal is "403 text".
func (p *desk) code(number string) string {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 15*time.Second)
	defer cancel()
	c, err := p.Call(ctx, number, phone.Sound{})
	var refused *phone.Refusal
	if errors.As(err, &refused) {
		return fmt.Sprintf("%d %s", refused.Code, refused.Reason)
	}
	if err != nil {
		p.t.Fatalf("%s: %v", number, err)
	}
	if err := c.Hangup(ctx); err != nil && !errors.As(err, &refused) {
		p.t.Fatalf("%s: hang up: %v", number, err)
	}
	return c.Shown()
}

// want is code, or an ordinary number, for an expected outcome. A telephone counts as busy until the BYE of its last call is
// answered, which a person does not notice and a test must wait for.
func (p *desk) want(number, shown string) {
	p.t.Helper()
	eventually(p.t, 10*time.Second, fmt.Sprintf("%s dials %s", p.Extension(), number), func() error {
		switch got := p.code(number); {
		case got == shown:
			return nil
		case strings.HasPrefix(got, "486"):
			return fmt.Errorf("%q, want %q", got, shown)
		default:
			return permanent{fmt.Errorf("%q, want %q", got, shown)}
		}
	})
}

// wantRings checks who rang since the last time: a number per call, by caller.
func (p *desk) wantRings(when string, from ...string) []phone.Ring {
	p.t.Helper()
	rings := p.rung()
	var got []string
	for _, r := range rings {
		got = append(got, r.From)
	}
	if strings.Join(got, " ") != strings.Join(from, " ") {
		p.t.Errorf("%s: %s rang for %v, want %v", when, p.Extension(), got, from)
	}
	return rings
}

func group(number, strategy string, members ...string) map[string]any {
	return map[string]any{"number": number, "name": number, "strategy": strategy, "members": members, "ring": "3s"}
}

// What people switch by codes, as the calls of independent phones experience it.
func TestFeatures(t *testing.T) {
	t.Parallel()
	a := startAppliance(t, func(s settings, _ *appliance) {
		s.set("appliance.language", "en")
		s.set("dialplan.groups", []any{group("8100", "all", "8012", "8013"), group("8101", "linear", "8012", "8013")})
	})
	d := newDesks(t, a)
	caller, first, second := d.at("8011", 11), d.at("8012", 12), d.at("8013", 13)
	names := map[string]string{}
	for _, e := range []string{"8011", "8012", "8013"} {
		var row struct {
			DisplayName string `json:"display_name"`
		}
		a.decode(&row, "terminal", "show", e)
		names[e] = row.DisplayName
	}
	caller.answers(phone.Reaction{})
	second.answers(phone.Reaction{})

	t.Run("forward always", func(t *testing.T) {
		first.want("*728013", "Forward to 8013")
		caller.want("8012", names["8013"])
		first.wantRings("forwarded always")
		rings := second.wantRings("forwarded always", "8011")
		if len(rings) == 1 && (!strings.Contains(rings[0].Header("Diversion"), "8012") || !strings.Contains(rings[0].Header("Diversion"), "reason=unconditional")) {
			t.Errorf("Diversion: %q", rings[0].Header("Diversion"))
		}
		first.want("*73", "Forward off")
	})
	t.Run("forward busy", func(t *testing.T) {
		first.want("*908013", "Busy to 8013")
		first.answers(phone.Reaction{Code: 486})
		caller.want("8012", names["8013"])
		first.wantRings("busy", "8011")
		second.wantRings("forwarded busy", "8011")
		first.want("*91", "Busy off")
		caller.want("8012", "486 Busy Here")
		first.rung()
	})
	t.Run("forward no answer", func(t *testing.T) {
		a.run("terminal", "features", "8012", "no_answer=8013", "no_answer_seconds=5")
		first.answers(phone.Reaction{RingFor: -1})
		caller.want("8012", names["8013"])
		first.wantRings("silent", "8011")
		second.wantRings("forwarded on no answer", "8011")
		first.want("*74", "All forwards off")
	})
	t.Run("do not disturb", func(t *testing.T) {
		first.want("*78", "Do not disturb on")
		caller.want("8012", "480 Temporarily Unavailable")
		first.wantRings("do not disturb")
		first.want("*79", "Do not disturb off")
	})
	t.Run("groups", func(t *testing.T) {
		caller.want("8100", names["8013"])
		first.wantRings("group, all", "8011")
		second.wantRings("group, all", "8011")
		first.answers(phone.Reaction{Code: 486})
		caller.want("8101", names["8013"])
		first.wantRings("group, linear", "8011")
		second.wantRings("group, linear, the next", "8011")
		first.want("*468101", "Out of group 8101")
		caller.want("8101", names["8013"])
		first.wantRings("logged out of the group")
		second.wantRings("group without the first", "8011")
		var groups struct {
			Groups []struct {
				Number  string
				Members []struct {
					Extension string
					LoggedIn  bool `json:"logged_in"`
					Free      bool
				}
			}
		}
		a.eventually(5*time.Second, "the groups after the last call", func() error { // whose BYE is answered before it is on record
			a.decode(&groups, "terminal", "groups")
			if g := groups.Groups[1]; g.Number != "8101" || g.Members[0].LoggedIn || !g.Members[1].Free {
				return fmt.Errorf("shown as %+v", groups)
			}
			return nil
		})
	})
	t.Run("speed dial", func(t *testing.T) {
		caller.want("*7501*8013", "Speed dial 01 = 8013")
		caller.want("*01", names["8013"])
		second.wantRings("speed dial", "8011")
	})
	t.Run("call back", func(t *testing.T) {
		second.want("*69", names["8011"])
		caller.wantRings("call back", "8013")
	})
	t.Run("intercom", func(t *testing.T) {
		caller.want("*808013", names["8013"])
		rings := second.wantRings("intercom", "8011")
		if len(rings) == 1 && (!strings.Contains(rings[0].Header("Alert-Info"), "alert-autoanswer") || !strings.Contains(rings[0].Header("Call-Info"), "answer-after=0")) {
			t.Errorf("Alert-Info %q, Call-Info %q", rings[0].Header("Alert-Info"), rings[0].Header("Call-Info"))
		}
	})
	t.Run("hot desk", func(t *testing.T) {
		command := startProcess(t, ".", "sh", "-c", fmt.Sprintf("echo 4821 | %s/bin/linehall terminal pin 8011 --config %s --data %s", repository, a.config, a.data))
		if code := command.wait(30 * time.Second); code != 0 {
			t.Fatalf("PIN not set: %s", command.output)
		}
		second.want("*118011*1111", "403 Wrong extension or PIN")
		second.want("*118011*4821", "8011 logged in")
		first.answers(phone.Reaction{})
		second.want("8012", names["8012"])
		first.wantRings("a call of the guest", "8011")
		first.want("8011", names["8011"])
		second.wantRings("a call for the guest", "8012")
		caller.wantRings("a call for the guest")
		second.want("*12", "8011 logged out")
	})
	t.Run("restart", func(t *testing.T) {
		first.want("*728013", "Forward to 8013")
		a.kill9()
		a.start()
		caller.want("8012", names["8013"])
		first.wantRings("after a restart")
	})
}
