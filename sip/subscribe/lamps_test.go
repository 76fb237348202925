package subscribe

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"linehall/internal/directory"
	"linehall/sip/call"
	"linehall/sip/location"
)

// RFC 4235: what a lamp shows from the ring to the end, with everything that pickup needs.
func TestLampLife(t *testing.T) {
	inBubble(t, nil, func(b *bubble) {
		h := b.phone("8003", 3)
		w := h.subscribe("dialog", "8002")
		m := w.notify("200 OK")
		d := readDialogInfo(b.T, m.Body)
		if d.State != "full" || len(d.Dialogs) != 0 || d.Entity != "sip:8002@linehall.test" || !strings.HasPrefix(m.Header("Subscription-State"), "active;expires=3") {
			t.Errorf("first\n%s", m.Raw)
		}
		b.s.CallChanged(talk("c1", call.DialogEarly))
		m = w.notify("200 OK")
		d = readDialogInfo(b.T, m.Body)
		if len(m.Raw) > 1300 {
			t.Errorf("%d bytes", len(m.Raw))
		}
		if len(d.Dialogs) != 1 {
			t.Fatalf("ringing\n%s", m.Body)
		}
		x := d.Dialogs[0]
		if x.CallID != "c1b" || x.LocalTag != "lb" || x.RemoteTag != "rb" || x.Direction != "recipient" || x.State != "early" ||
			x.Remote.Identity.Display != `Li <"&` || x.Remote.Identity.URI != "sip:8001@linehall.test" || x.Remote.Target.URI != "sip:8001@linehall.test" ||
			x.Local.Identity.URI != "sip:8002@linehall.test" || x.Local.Target.URI != "sip:8002@linehall.test" {
			t.Errorf("ringing\n%s", m.Body)
		}
		up := talk("c1", call.DialogConfirmed)
		up.Dialogs[1].Held = true
		b.s.CallChanged(up) // all of it is too much for a datagram: only what has changed
		m = w.notify("200 OK")
		if d := readDialogInfo(b.T, m.Body); d.states() != "confirmed" || d.Dialogs[0].Local.Target.Params[0].Name != "+sip.rendering" {
			t.Errorf("held\n%s", m.Body)
		}
		b.s.CallChanged(ended("c1"))
		if m = w.notify("200 OK"); readDialogInfo(b.T, m.Body).states() != "terminated" {
			t.Errorf("ended\n%s", m.Body)
		}
		b.s.CallChanged(talk("c2", call.DialogTrying))
		if m = w.notify("200 OK"); readDialogInfo(b.T, m.Body).states() != "trying" {
			t.Errorf("the ended dialog is told again\n%s", m.Body)
		}
	})
}

// One NOTIFY at a time, and no queue of old news behind it.
func TestNewestStateWins(t *testing.T) {
	inBubble(t, nil, func(b *bubble) {
		h := b.phone("8003", 3)
		w := h.subscribe("dialog", "8002")
		first := w.notify("")
		for range 5 {
			b.s.CallChanged(talk("c1", call.DialogTrying))
			b.s.CallChanged(talk("c1", call.DialogEarly))
			b.s.CallChanged(talk("c1", call.DialogConfirmed))
			b.s.CallChanged(ended("c1"))
			b.s.CallChanged(talk("c2", call.DialogEarly))
			time.Sleep(20 * time.Millisecond)
		}
		h.quiet(0)
		h.sock.Answer(here, first, "200 OK")
		m := w.notify("200 OK")
		if d := readDialogInfo(b.T, m.Body); d.states() != "early" || d.Dialogs[0].ID != "c2-1" {
			t.Errorf("after all\n%s", m.Body)
		}
		h.quiet(10 * time.Second)
	})
}

func TestMinimumInterval(t *testing.T) {
	inBubble(t, nil, func(b *bubble) {
		h := b.phone("8003", 3)
		w := h.subscribe("dialog", "8002")
		w.notify("200 OK")
		last := time.Now()
		for i := range 8 {
			state := call.DialogEarly
			if i%2 == 1 {
				state = call.DialogConfirmed
			}
			b.s.CallChanged(talk("c1", state))
			w.notify("200 OK")
			if d := time.Since(last); d < 200*time.Millisecond || d > 220*time.Millisecond {
				t.Errorf("NOTIFY %d after %s", i, d)
			}
			last = time.Now()
		}
	})
}

// A phone that does not answer (opensips#380): the same request is repeated, then the newest
// state is tried anew with pauses, and only after many attempts the subscription ends.
func TestLostNotify(t *testing.T) {
	inBubble(t, func(o *Options) { o.Limits.Failures = 4 }, func(b *bubble) {
		h := b.phone("8003", 3)
		w := h.subscribe("dialog", "8002")
		w.notify("200 OK")
		b.s.CallChanged(talk("c1", call.DialogEarly))
		time.Sleep(7 * time.Second)
		b.s.CallChanged(talk("c1", call.DialogConfirmed))
		var attempts []string
		note := func() {
			for _, m := range h.sock.Pending() {
				if c := m.Header("CSeq"); !slices.Contains(attempts, c) {
					attempts = append(attempts, c)
				} else if m.Body == "" {
					t.Error("no body")
				}
			}
		}
		time.Sleep(2500 * time.Millisecond) // patience is 8 s, then 1 s of back-off
		note()
		if len(attempts) != 2 {
			t.Errorf("attempts %v", attempts)
		}
		if n := b.s.Count()["dialog"]; n != 1 {
			t.Fatal("one lost NOTIFY killed the subscription")
		}
		time.Sleep(2 * time.Minute)
		note()
		if len(attempts) != 4 || b.s.Count()["dialog"] != 0 {
			t.Errorf("%d attempts, %d subscriptions", len(attempts), b.s.Count()["dialog"])
		}
	})
}

// A phone that comes back hears the newest state at once, whatever pause was under way.
func TestReturnOfThePhone(t *testing.T) {
	inBubble(t, nil, func(b *bubble) {
		h := b.phone("8003", 3)
		w := h.subscribe("dialog", "8002")
		w.notify("200 OK")
		b.s.CallChanged(talk("c1", call.DialogEarly))
		time.Sleep(100 * time.Second)
		h.sock.Pending()
		b.s.CallChanged(talk("c1", call.DialogConfirmed))
		b.s.PhoneChanged("8003@" + domain)
		m := w.notify("200 OK")
		if readDialogInfo(b.T, m.Body).states() != "confirmed" {
			t.Errorf("got\n%s", m.Body)
		}
		h.quiet(time.Minute)
	})
}

func TestWhatEndsASubscription(t *testing.T) {
	for status, ends := range map[string]bool{
		"481 Subscription Does Not Exist": true, "489 Bad Event": true, "404 Not Found": true, "501 Not Implemented": true,
		"408 Request Timeout": false, "500 Server Internal Error": false, "503 Service Unavailable": false, "491 Request Pending": false,
	} {
		inBubble(t, nil, func(b *bubble) {
			h := b.phone("8003", 3)
			w := h.subscribe("dialog", "8002")
			w.notify(status)
			if gone := b.s.Count()["dialog"] == 0; gone != ends {
				t.Errorf("%s: ended %v", status, gone)
			}
			if !ends {
				w.notify("200 OK")
			}
			h.quiet(time.Minute)
		})
	}
}

func TestRetryAfterOfThePhone(t *testing.T) {
	inBubble(t, nil, func(b *bubble) {
		h := b.phone("8003", 3)
		w := h.subscribe("dialog", "8002")
		m := h.sock.Recv()
		h.sock.Send(here, "SIP/2.0 503 Service Unavailable", "Via: "+m.Header("Via"), "From: "+m.Header("From"), "To: "+m.Header("To"),
			"Call-ID: "+m.Header("Call-ID"), "CSeq: "+m.Header("CSeq"), "Retry-After: 20 (rebooting)")
		h.quiet(19 * time.Second)
		w.notify("200 OK")
	})
}

func TestExpiry(t *testing.T) {
	inBubble(t, nil, func(b *bubble) {
		h := b.phone("8003", 3)
		began := time.Now()
		w := h.subscribe("dialog", "8002", "Expires: 120")
		w.notify("200 OK")
		time.Sleep(100 * time.Second)
		if res := w.again("120"); res.Code != 200 || res.Header("Expires") != "120" {
			t.Errorf("refresh: %s", res.Start)
		}
		w.notify("200 OK") // a refresh asks for the state
		m := w.notify("200 OK")
		if got := m.Header("Subscription-State"); got != "terminated;reason=timeout" || time.Since(began) < 220*time.Second || time.Since(began) > 221*time.Second {
			t.Errorf("%s after %s", got, time.Since(began))
		}
		if res := w.again("120"); res.Code != 481 {
			t.Errorf("after the end: %s", res.Start)
		}
		if len(b.s.watching) != 0 || len(b.s.owned) != 0 || len(b.s.doors) != 0 || len(b.s.queue.heap) != 0 {
			t.Error("something is left behind")
		}
	})
}

func TestUnsubscribeAndFetch(t *testing.T) {
	inBubble(t, nil, func(b *bubble) {
		h := b.phone("8003", 3)
		w := h.subscribe("dialog", "8002")
		w.notify("200 OK")
		if res := w.again("0"); res.Code != 200 || res.Header("Expires") != "0" {
			t.Errorf("unsubscribe: %s", res.Raw)
		}
		if m := w.notify("200 OK"); m.Header("Subscription-State") != "terminated;reason=timeout" || m.Body == "" {
			t.Errorf("last\n%s", m.Raw)
		}
		b.s.CallChanged(talk("c1", call.DialogConfirmed))
		f := h.subscribe("dialog", "8002", "Expires: 0")
		if m := f.notify("200 OK"); m.Header("Subscription-State") != "terminated;reason=timeout" || readDialogInfo(b.T, m.Body).states() != "confirmed" {
			t.Errorf("fetch\n%s", m.Raw)
		}
		h.quiet(time.Hour)
		if n := b.s.Count()["dialog"]; n != 0 {
			t.Errorf("%d left", n)
		}
	})
}

func TestSubscribeRefusals(t *testing.T) {
	for _, tt := range []struct {
		name, event, user string
		extra             []string
		code              int
		header, value     string
	}{
		{"unknown event", "reg", "8002", nil, 489, "Allow-Events", "dialog"},
		{"brief", "dialog", "8002", []string{"Expires: 30"}, 423, "Min-Expires", "60"},
		{"bad expires", "dialog", "8002", []string{"Expires: soon"}, 400, "", ""},
		{"unknown number", "dialog", "8999", nil, 404, "", ""},
		{"cannot read it", "dialog", "8002", []string{"Accept: application/pidf+xml"}, 406, "", ""},
		{"list without the extension", "dialog", "8003-list", nil, 421, "Require", "eventlist"},
		{"another's list", "dialog", "8001-list", []string{"Supported: eventlist"}, 403, "", ""},
		{"unknown extension required", "dialog", "8002", []string{"Require: x-unknown"}, 420, "", ""},
		{"bad id", "dialog;id=a b", "8002", nil, 400, "", ""},
		{"reads everything", "dialog", "8002", []string{"Accept: */*"}, 200, "Expires", "3600"},
		{"longer than allowed", "dialog", "8002", []string{"Expires: 86400"}, 200, "Expires", "3600"},
		{"a list in a list event", "dialog", "8003-list", []string{"Supported: eventlist", "Accept: application/dialog-info+xml, application/rlmi+xml, multipart/related"}, 200, "Require", "eventlist"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, nil, func(b *bubble) {
				res := b.phone("8003", 3).ask(tt.event, tt.user, tt.extra...)
				if res.Code != tt.code || tt.header != "" && !strings.Contains(res.Header(tt.header), tt.value) {
					t.Errorf("got\n%s", res.Raw)
				}
			})
		})
	}
	inBubble(t, nil, func(b *bubble) {
		if res := b.phone("7777", 3).ask("dialog", "8002"); res.Code != 401 {
			t.Errorf("a stranger got %s", res.Start)
		}
	})
}

func TestForeignAndOldRefreshes(t *testing.T) {
	inBubble(t, nil, func(b *bubble) {
		h, thief := b.phone("8003", 3), b.phone("8004", 4)
		w := h.subscribe("dialog", "8002")
		w.notify("200 OK")
		thief.send("SUBSCRIBE", w.target, w.to, w.id, "", "Event: dialog", "Expires: 0")
		if res := thief.sock.Recv(); res.Code != 481 { // another From tag
			t.Errorf("a foreign refresh got %s", res.Start)
		}
		h.seq = 0
		if res := w.again("600"); res.Code != 500 {
			t.Errorf("an old CSeq got %s", res.Start)
		}
	})
}

func TestSubscriptionLimits(t *testing.T) {
	inBubble(t, func(o *Options) { o.Limits.PerTerminal, o.Limits.Total = 2, 3 }, func(b *bubble) {
		a, c := b.phone("8003", 3), b.phone("8004", 4)
		first := a.subscribe("dialog", "8001")
		first.notify("200 OK")
		a.subscribe("dialog", "8002").notify("200 OK")
		if res := a.ask("dialog", "8004"); res.Code != 403 {
			t.Errorf("beyond the terminal's share: %s", res.Start)
		}
		// The same phone asks again after a restart: its old subscription makes room.
		a.subscribe("dialog", "8001").notify("200 OK")
		if b.s.Count()["dialog"] != 2 || first.again("600").Code != 481 {
			t.Error("the old subscription is still there")
		}
		c.subscribe("dialog", "8001").notify("200 OK")
		if res := c.ask("dialog", "8002"); res.Code != 503 || res.Header("Retry-After") == "" {
			t.Errorf("beyond the total: %s", res.Start)
		}
	})
}

// A dead phone holds up only itself, not even another one of its extension.
func TestDeadPhone(t *testing.T) {
	inBubble(t, nil, func(b *bubble) {
		dead, h := b.phone("8003", 4), b.phone("8003", 3)
		for i := range 40 {
			dead.ask(fmt.Sprintf("dialog;id=%d", i), "8002")
			synctest.Wait()
			dead.sock.Pending()
		}
		w := h.subscribe("dialog", "8002")
		w.notify("200 OK")
		began := time.Now()
		b.s.CallChanged(talk("c1", call.DialogEarly))
		w.notify("200 OK")
		if d := time.Since(began); d > 250*time.Millisecond {
			t.Errorf("the lamp took %s", d)
		}
	})
}

func TestGroupsAndOtherNumbers(t *testing.T) {
	inBubble(t, nil, func(b *bubble) {
		b.people.groups["8000"] = []string{"8001", "8002"}
		b.people.groups["9000"] = nil
		h := b.phone("8003", 3)
		w := h.subscribe("dialog", "8000")
		w.notify("200 OK")
		b.s.CallChanged(talk("c1", call.DialogEarly))
		m := w.notify("200 OK")
		if d := readDialogInfo(b.T, m.Body); d.states() != "early early" || d.Entity != "sip:8000@linehall.test" || len(m.Raw) > 1300 {
			t.Errorf("group, %d bytes\n%s", len(m.Raw), m.Body)
		}
		up := talk("c1", call.DialogConfirmed)
		up.Dialogs[1].State = call.DialogEarly
		b.s.CallChanged(up) // all of it is too much for a datagram: only what has changed
		m = w.notify("200 OK")
		if d := readDialogInfo(b.T, m.Body); d.State != "partial" || d.states() != "confirmed" {
			t.Errorf("partial\n%s", m.Body)
		}
		room := h.subscribe("dialog", "9000")
		room.notify("200 OK")
		b.s.Show("9000", []call.DialogInfo{{ID: "room", Extension: "9000", State: call.DialogConfirmed}})
		if m := room.notify("200 OK"); readDialogInfo(b.T, m.Body).states() != "confirmed" {
			t.Errorf("room\n%s", m.Body)
		}
		b.s.Show("9000", nil)
		if m := room.notify("200 OK"); readDialogInfo(b.T, m.Body).states() != "terminated" {
			t.Errorf("empty room\n%s", m.Body)
		}
	})
}

// A group with more calls than fit into a datagram: each NOTIFY stays below the limit, and together they say everything,
// at the first subscription, when it is refreshed, when all calls change at once and when they end.
func TestGroupWithManyCalls(t *testing.T) {
	for _, list := range []bool{false, true} {
		inBubble(t, nil, func(b *bubble) {
			const calls = 12
			b.people.groups["8000"] = []string{"8001"}
			b.people.lamps["8003"] = []string{"8000"}
			show := func(state call.DialogState) {
				var dialogs []call.DialogInfo
				for i := range calls {
					dialogs = append(dialogs, call.DialogInfo{
						ID: fmt.Sprintf("d%02d", i), CallID: fmt.Sprintf("a-call-id-as-long-as-those-of-phones-%d@192.0.2.1", i), LocalTag: "0123456789abcdef", RemoteTag: "fedcba9876543210",
						Extension: "8000", RemoteExtension: fmt.Sprint(8100 + i), RemoteDisplay: "Somebody With A Name", State: state,
					})
				}
				if state == "" {
					dialogs = nil
				}
				b.s.Show("8000", dialogs)
			}
			show(call.DialogEarly)
			h := b.phone("8003", 3)
			resource, supported := "8000", "Supported: replaces"
			if list {
				resource, supported = "8003-list", "Supported: eventlist"
			}
			w := h.subscribe("dialog", resource, supported)
			version := map[*watch]int{}
			collect := func(w *watch, state string) (states []string) {
				t.Helper()
				known := map[string]string{}
				for n := 0; len(known) < calls; n++ {
					m := w.notify("200 OK")
					states = append(states, m.Header("Subscription-State"))
					body, most := m.Body, 1300
					if list {
						most = 1452 // of an Ethernet frame
						_, parts := readList(t, m)
						if body = parts["8000@l"]; body == "" {
							continue // it follows
						}
					}
					if len(m.Raw) > most {
						t.Fatalf("%d bytes over UDP\n%s", len(m.Raw), m.Raw)
					}
					d := readDialogInfo(b.T, body)
					if d.State == "partial" && d.Version != version[w]+1 {
						t.Errorf("version %d after %d", d.Version, version[w])
					}
					version[w] = d.Version
					for _, x := range d.Dialogs {
						if known[x.ID] != "" && d.State != "full" {
							t.Errorf("%s is told twice", x.ID)
						}
						known[x.ID] = x.State
					}
					if n > calls+1 {
						t.Fatalf("%d dialogs after %d NOTIFYs", len(known), n)
					}
				}
				for id, is := range known {
					if is != state {
						t.Errorf("%s is %s", id, is)
					}
				}
				h.quiet(time.Second)
				return states
			}
			collect(w, "early")
			if res := w.again("600", supported); res.Code != 200 {
				t.Fatalf("refresh: %s", res.Start)
			}
			collect(w, "early")
			show(call.DialogConfirmed)
			collect(w, "confirmed")
			// A single question is answered in as many, and only the last one ends it.
			fetch := h.subscribe("dialog", resource, supported, "Expires: 0")
			states := collect(fetch, "confirmed")
			for i, state := range states {
				if strings.HasPrefix(state, "active") != (i < len(states)-1) {
					t.Errorf("NOTIFY %d of %d is %s", i+1, len(states), state)
				}
			}
			show("")
			collect(w, "terminated")
		})
	}
}

func TestRecheck(t *testing.T) {
	inBubble(t, nil, func(b *bubble) {
		h, other := b.phone("8003", 3), b.phone("8004", 4)
		w := h.subscribe("dialog", "8002")
		w.notify("200 OK")
		v := other.subscribe("dialog", "8001")
		v.notify("200 OK")
		b.people.mu.Lock()
		delete(b.people.known, "8002")
		b.people.known["8004"] = directory.Terminal{Extension: "8004", State: directory.Disabled}
		b.people.mu.Unlock()
		b.s.Recheck()
		if m := w.notify("200 OK"); m.Header("Subscription-State") != "terminated;reason=noresource" {
			t.Errorf("number gone\n%s", m.Raw)
		}
		if m := v.notify("200 OK"); m.Header("Subscription-State") != "terminated;reason=rejected" {
			t.Errorf("terminal disabled\n%s", m.Raw)
		}
		synctest.Wait()
		if n := b.s.Count()["dialog"]; n != 0 {
			t.Errorf("%d left", n)
		}
	})
}

// Cisco phones want credentials with a NOTIFY.
func TestChallengedNotify(t *testing.T) {
	inBubble(t, nil, func(b *bubble) {
		h := b.phone("8003", 3)
		w := h.subscribe("dialog", "8002")
		m := h.sock.Recv()
		w.check(m)
		h.sock.Send(here, "SIP/2.0 401 Unauthorized", "Via: "+m.Header("Via"), "From: "+m.Header("From"), "To: "+m.Header("To"),
			"Call-ID: "+m.Header("Call-ID"), "CSeq: "+m.Header("CSeq"), `WWW-Authenticate: Digest realm="phone", nonce="n", algorithm=MD5, qop="auth"`)
		m = h.sock.Recv() // the same document: it was not taken
		if m.Header("CSeq") != "2 NOTIFY" {
			t.Errorf("CSeq %s", m.Header("CSeq"))
		}
		if a := m.Header("Authorization"); !strings.Contains(a, `username="8003"`) || !strings.Contains(a, `realm="phone"`) {
			t.Errorf("authorization %q", a)
		}
		h.sock.Answer(here, m, "200 OK")
		h.quiet(time.Minute)
	})
}

func TestKeepAliveNotify(t *testing.T) {
	inBubble(t, nil, func(b *bubble) {
		h := b.phone("8003", 3)
		h.send("NOTIFY", "sip:"+domain, "<sip:"+domain+">", "ka", "", "Event: keep-alive")
		if res := h.response(); res.Code != 200 {
			t.Errorf("got %s", res.Start)
		}
		h.send("NOTIFY", "sip:"+domain, "<sip:"+domain+">", "ka2", "", "Event: nonsense")
		if res := h.response(); res.Code != 489 || !strings.Contains(res.Header("Allow-Events"), "vq-rtcpxr") {
			t.Errorf("got %s", res.Raw)
		}
	})
}

// A NAT gives a phone another address; its registration says so long before its subscriptions
// are refreshed.
func TestPhoneBehindNAT(t *testing.T) {
	inBubble(t, nil, func(b *bubble) {
		h := b.phone("8003", 3)
		w := h.subscribe("dialog", "8002")
		w.notify("200 OK")
		moved := &handset{bubble: b, ext: "8003", addr: "10.0.9.9:6666", sock: b.net.Listen("10.0.9.9:6666"), seq: 1}
		b.people.mu.Lock()
		aor := location.AOR("8003", domain)
		b.people.bindings[aor][0].Flow.Remote = netip.MustParseAddrPort(moved.addr)
		b.people.mu.Unlock()
		b.s.PhoneChanged(aor)
		synctest.Wait()
		b.s.CallChanged(talk("c1", call.DialogEarly))
		w.h = moved
		if m := w.notify("200 OK"); !strings.HasPrefix(m.Start, "NOTIFY sip:8003@10.0.0.3:5060 ") {
			t.Errorf("request line %s", m.Start)
		}
		h.quiet(time.Minute)
	})
}
