package call_test

import (
	"strings"
	"testing"

	"linehall/sip/call"
	"linehall/sip/cdr"
)

// ringing: a calls b, whose phone rings; c may pick up, d may not.
func ringing(t *testing.T, offer string) (x *exchange, a, b, c, d *phone, inv, in *message) {
	t.Helper()
	x = newExchange(t, labOptions{pickup: map[string][]string{"8003": {"8002"}}})
	a, b = newPhone(t, x, "2001", "UDP", "127.0.1.11"), newPhone(t, x, "8002", "UDP", "127.0.0.12")
	c, d = newPhone(t, x, "8003", "UDP", "127.0.0.13"), newPhone(t, x, "8009", "UDP", "127.0.0.14")
	for _, p := range []*phone{a, b, c, d} {
		p.register()
	}
	if offer == "" {
		inv = a.invite("8002", "")
	} else {
		inv = a.invite("8002", strings.ReplaceAll(sdpFrom(a.local), "8 0 101", offer))
	}
	in = b.request("INVITE")
	b.tag = token()
	b.send(b.reply(in, 180, "Ringing", ""))
	a.status("INVITE", 180)
	eventually(t, "ringing", func() bool {
		s := x.calls.Snapshot()
		return len(s) == 1 && len(s[0].Dialogs) == 2 && s[0].Dialogs[1].State == call.DialogEarly
	})
	return x, a, b, c, d, inv, in
}

// elsewhere takes the CANCEL of a phone whose call was picked up.
func (p *phone) elsewhere(in *message) {
	p.t.Helper()
	cancel := p.request("CANCEL")
	if reason := cancel.header("Reason"); !strings.Contains(reason, "cause=200") || !strings.Contains(reason, "elsewhere") {
		p.t.Errorf("Reason %q", reason)
	}
	p.send(p.reply(cancel, 200, "OK", ""))
	p.send(p.reply(in, 487, "Request Terminated", ""))
	p.request("ACK")
}

func TestPickup(t *testing.T) {
	t.Parallel()
	lamp := func(x *exchange) []string {
		for _, d := range x.calls.Snapshot()[0].Dialogs {
			if !d.Initiator {
				return []string{ // as RFC 3891 §3 has it, and from the other end's view
					d.CallID + ";to-tag=" + d.RemoteTag + ";from-tag=" + d.LocalTag,
					d.CallID + ";from-tag=" + d.RemoteTag + ";to-tag=" + d.LocalTag,
				}
			}
		}
		return nil
	}
	for _, tt := range []struct {
		name          string
		caller, offer string // formats of the offers; "" for none
		how           string
	}{
		{"code and extension", "8 0 101", "8 0 101", "**8002"},
		{"group code", "8 0 101", "0 8", "*8"},
		{"Replaces", "8 0 101", "8 0 101", "replaces 0"},
		{"Replaces, tags the other way round", "8 0 101", "8 0 101", "replaces 1"},
		{"the picker asks for an offer", "8 0 101", "", "*8"},
		{"the caller asked for an offer", "", "8 0 101", "*8"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x, a, b, c, _, _, in := ringing(t, tt.caller)
			offer := ""
			if tt.offer != "" {
				offer = strings.ReplaceAll(sdpFrom(c.local), "8 0 101", tt.offer)
			}
			if n, ok := strings.CutPrefix(tt.how, "replaces "); ok {
				c.invite("8002", offer, [2]string{"Replaces", lamp(x)[n[0]-'0'] + ";early-only"})
			} else {
				c.invite(tt.how, offer)
			}
			b.elsewhere(in)
			var okA, okC *message
			var da, dc *dlg
			takeA := func() { okA = a.status("INVITE", 200); da = a.dialogOfCaller(okA) }
			takeC := func() { okC = c.status("INVITE", 200); dc = c.dialogOfCaller(okC) }
			switch {
			case tt.offer == "":
				takeC()
				dc.send("ACK", sdpFrom(c.local))
				takeA()
				da.send("ACK", "")
			case tt.caller == "":
				takeA()
				da.send("ACK", sdpFrom(a.local))
				takeC()
				dc.send("ACK", "")
			default:
				takeA()
				takeC()
				da.send("ACK", "")
				dc.send("ACK", "")
				want := "RTP/AVP 8 0"
				if !strings.Contains(okA.body, want) || !strings.Contains(okC.body, want) {
					t.Errorf("the caller has\n%s\nthe picker\n%s", okA.body, okC.body)
				}
			}
			if !strings.Contains(okA.header("P-Asserted-Identity"), "8003") || !strings.Contains(okC.header("P-Asserted-Identity"), "2001") {
				t.Errorf("identities %q, %q", okA.header("P-Asserted-Identity"), okC.header("P-Asserted-Identity"))
			}
			eventually(t, "established", func() bool { return state(x) == call.StateEstablished })
			k := &talk{a: a, b: c, da: da, db: dc}
			reinvite(t, k, k.da, sdpFrom(a.local, "a=sendonly"), sdpFrom(c.local, "a=recvonly"))
			reinvite(t, k, k.db, sdpFrom(c.local), sdpFrom(a.local))
			k.hangUp(k.db)
			if r := x.wantRecords(1)[0]; r.To != "8003" || r.PickedUpBy != "8003" || r.Dialled != "8002" || r.Result != cdr.Answered {
				t.Errorf("record %+v", r)
			}
			eventually(t, "the line given back", func() bool { return x.ledger.Snapshot()[0].Reserved == 0 })
		})
	}
}

func TestPickupRefused(t *testing.T) {
	t.Parallel()
	x, a, b, c, d, inv, in := ringing(t, "8 101")
	dialog := x.calls.Snapshot()[0].Dialogs[1]
	named := [2]string{"Replaces", dialog.CallID + ";to-tag=" + dialog.RemoteTag + ";from-tag=" + dialog.LocalTag}
	for _, tt := range []struct {
		name    string
		p       *phone
		number  string
		offer   string
		headers [][2]string
		code    int
	}{
		{"outside of the group", d, "**8002", "8", nil, 403},
		{"outside of the group, by Replaces", d, "8002", "8", [][2]string{named}, 403},
		{"outside of the group, whatever rings", d, "*8", "8", nil, 403},
		{"no codec in common", c, "*8", "9", nil, 488},
		{"nothing rings there", c, "**8009", "8", nil, 480},
	} {
		res := func() *message {
			m := tt.p.invite(tt.number, strings.ReplaceAll(sdpFrom(tt.p.local), "8 0 101", tt.offer), tt.headers...)
			res := tt.p.final("INVITE")
			tt.p.send(tt.p.ackFailure(m, res))
			return res
		}()
		if res.code() != tt.code {
			t.Errorf("%s: %s, want %d", tt.name, res.first, tt.code)
		}
	}
	b.send(b.reply(in, 486, "Busy Here", ""))
	a.send(a.ackFailure(inv, a.status("INVITE", 486)))
	if res := refused(t, x, c, "*8", 480); res.code() != 480 {
		t.Error(res.first)
	}
	x.wantRecords(7)
}

// A transfer that rings is picked up: the party talks to who picked up.
func TestPickupOfATransfer(t *testing.T) {
	t.Parallel()
	x := newExchange(t, labOptions{pickup: map[string][]string{"8009": {"8003"}}})
	a, b := newPhone(t, x, "8001", "UDP", "127.0.0.11"), newPhone(t, x, "2001", "UDP", "127.0.1.12")
	c, d := newPhone(t, x, "8003", "UDP", "127.0.0.13"), newPhone(t, x, "8009", "UDP", "127.0.0.14")
	for _, p := range []*phone{a, b, c, d} {
		p.register()
	}
	k := connect(t, a, b)
	k.db.refer("<sip:8003@" + domain + ">")
	in := c.request("INVITE")
	c.send(c.reply(in, 180, "Ringing", ""))
	k.db.told("180")
	d.invite("**8003", sdpFrom(d.local))
	c.elsewhere(in)
	re := a.answerOffer(sdpFrom(a.local))
	if !strings.Contains(re.header("P-Asserted-Identity"), "8009") {
		t.Errorf("the party talks to %s", re.header("P-Asserted-Identity"))
	}
	dd := d.dialogOfCaller(d.status("INVITE", 200))
	dd.send("ACK", "")
	k.db.told("200")
	b.bye()
	rest := &talk{a: a, b: d, da: k.da, db: dd}
	reinvite(t, rest, rest.db, sdpFrom(d.local, "a=sendonly"), sdpFrom(a.local, "a=recvonly"))
	rest.hangUp(rest.da)
	if r := x.wantRecords(2)[0]; r.PickedUpBy != "8009" || r.TransferredBy != "2001" {
		t.Errorf("record %+v", r)
	}
}

// The picker, or the caller, gives up between the two answers.
func TestPickupCancelled(t *testing.T) {
	t.Parallel()
	x, a, b, c, _, inv, in := ringing(t, "8 0 101")
	c.invite("*8", "")
	b.elsewhere(in)
	ok := c.status("INVITE", 200)
	a.cancel(inv)
	a.send(a.ackFailure(inv, a.status("INVITE", 487)))
	c.dialogOfCaller(ok).send("ACK", sdpFrom(c.local))
	c.bye()
	x.wantRecords(1)
}
