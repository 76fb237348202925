package call_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	"linehall/internal/directory"
	"linehall/sip/cdr"
	"linehall/sip/route"
)

// codes answers feature codes from a table and remembers who dialled what.
type codes struct {
	mu      sync.Mutex
	dialled []string
	served  map[string]route.Served
}

func (c *codes) Dial(_ context.Context, caller directory.Terminal, feature, argument string) route.Served {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dialled = append(c.dialled, strings.Join([]string{caller.Extension, feature, argument}, " "))
	return c.served[feature+argument]
}

// A code's text is shown as the name of an answered call with quiet media, which hangs up by itself.
func TestNotice(t *testing.T) {
	t.Parallel()
	features := &codes{served: map[string]route.Served{"do_not_disturb": {Show: `免打扰 "开"`}}}
	x := newExchange(t, labOptions{features: features})
	a := newPhone(t, x, "8001", "UDP", "127.0.0.11")
	a.register()
	a.invite("*76", sdpFrom(a.local, "m=video 40002 RTP/AVP 96", "a=rtpmap:96 VP8/90000"))
	ok := a.final("INVITE")
	if ok.code() != 200 {
		t.Fatalf("answered with %s", ok.first)
	}
	for _, name := range []string{"P-Asserted-Identity", "Contact"} {
		if !strings.Contains(ok.header(name), `"免打扰 \"开\""`) {
			t.Errorf("%s: %s", name, ok.header(name))
		}
	}
	for _, line := range []string{"m=audio 9 RTP/AVP 8\r\n", "a=inactive\r\n", "m=video 0 "} {
		if !strings.Contains(ok.body, line) {
			t.Errorf("no %q in\n%s", line, ok.body)
		}
	}
	d := a.dialogOfCaller(ok)
	d.send("ACK", "")
	d.send("INVITE", sdpFrom(a.local)) // a phone that puts the text on hold
	a.status("INVITE", 488)
	bye := a.request("BYE")
	if !strings.HasPrefix(bye.header("Reason"), "SIP;cause=200") {
		t.Errorf("Reason %q", bye.header("Reason"))
	}
	a.send(a.reply(bye, 200, "OK", ""))
	r := x.wantRecords(1)[0]
	if r.Result != cdr.Answered || r.Dialled != "*76" || r.Reason != "feature code: do_not_disturb" {
		t.Errorf("recorded %+v", r)
	}
	if !slices.Equal(features.dialled, []string{"8001 do_not_disturb "}) {
		t.Errorf("dialled %q", features.dialled)
	}
	if len(x.calls.Snapshot()) != 0 {
		t.Error("a notice is no call")
	}
}

// The person hangs up first; the 2xx is repeated until its ACK; an INVITE without offer gets one.
func TestNoticeThatIsHungUp(t *testing.T) {
	t.Parallel()
	x := newExchange(t, labOptions{features: &codes{served: map[string]route.Served{"do_not_disturb": {Show: "on"}}}})
	a := newPhone(t, x, "8001", "UDP", "127.0.0.11")
	a.register()
	a.invite("*76", "")
	ok := a.final("INVITE")
	if !strings.Contains(ok.body, "a=inactive") {
		t.Errorf("no offer: %s", ok.body)
	}
	a.wantRepeated()
	a.status("INVITE", 200) // no ACK yet
	d := a.dialogOfCaller(ok)
	d.send("ACK", sdpFrom(a.local, "a=inactive"))
	d.send("BYE", "")
	a.status("BYE", 200)
	a.quiet("BYE", func(m *message) bool { return m.method() == "BYE" && !m.response() })
}

// Somebody else who knows the tags does not end it.
func TestNoticeFromElsewhere(t *testing.T) {
	t.Parallel()
	x := newExchange(t, labOptions{features: &codes{served: map[string]route.Served{"do_not_disturb": {Show: "on"}}}})
	a, b := newPhone(t, x, "8001", "UDP", "127.0.0.11"), newPhone(t, x, "8002", "UDP", "127.0.0.12")
	a.register()
	a.invite("*76", sdpFrom(a.local))
	ok := a.final("INVITE")
	d := a.dialogOfCaller(ok)
	d.p = b
	d.send("BYE", "")
	b.status("BYE", 403)
	d.p = a
	d.send("ACK", "")
	a.request("BYE")
}

func TestCodeThatIsRefused(t *testing.T) {
	t.Parallel()
	x := newExchange(t, labOptions{features: &codes{served: map[string]route.Served{"do_not_disturb": {Refuse: &route.Refusal{Code: 403, Text: "Not for this phone"}}}}})
	a := newPhone(t, x, "8001", "UDP", "127.0.0.11")
	a.register()
	a.invite("*76", sdpFrom(a.local))
	res := a.final("INVITE")
	if res.first != "SIP/2.0 403 Not for this phone" || !strings.Contains(res.header("Warning"), "Not for this phone") {
		t.Errorf("%s, Warning %q", res.first, res.header("Warning"))
	}
}

// A speed dial goes on as if its number had been dialled, with the caller's class of service; a
// code behind a code leads nowhere.
func TestCodeThatStandsForANumber(t *testing.T) {
	t.Parallel()
	x := newExchange(t, labOptions{features: &codes{served: map[string]route.Served{"speed_dial1": {Dial: "8002"}, "speed_dial2": {Dial: "*76"}, "speed_dial3": {Dial: "4711"}}}})
	a, b := newPhone(t, x, "8001", "UDP", "127.0.0.11"), newPhone(t, x, "8002", "UDP", "127.0.0.12")
	a.register()
	b.register()
	a.invite("*01", sdpFrom(a.local))
	inv := b.request("INVITE")
	b.send(b.reply(inv, 486, "Busy Here", ""))
	a.status("INVITE", 486)
	for number, code := range map[string]int{"*02": 404, "*03": 404} {
		a.invite(number, sdpFrom(a.local))
		if res := a.final("INVITE"); res.code() != code {
			t.Errorf("%s: %s", number, res.first)
		}
	}
}
