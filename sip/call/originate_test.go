package call_test

import (
	"errors"
	"strings"
	"testing"

	"linehall/sip/call"
	"linehall/sip/cdr"
)

// The first party answers without an offer, or wants one; then the call goes on as if it had
// dialled.
func TestOriginate(t *testing.T) {
	t.Parallel()
	for _, blank := range []bool{false, true} {
		x := newExchange(t, labOptions{})
		a, b := newPhone(t, x, "8001", "UDP", "127.0.0.11"), newPhone(t, x, "2001", "UDP", "127.0.1.12")
		a.register()
		b.register()
		if _, err := x.calls.Originate(t.Context(), call.Origination{From: "8001", To: "2001", AutoAnswer: true}); err != nil {
			t.Fatal(err)
		}
		in := a.request("INVITE")
		if in.body != "" || !strings.Contains(in.header("Alert-Info"), "auto") {
			t.Errorf("INVITE\n%s", in.text())
		}
		want := 2
		if blank {
			want = 3
			a.send(a.reply(in, 488, "Not Acceptable Here", ""))
			a.request("ACK")
			in = a.request("INVITE")
			if !strings.Contains(in.body, "a=inactive") {
				t.Errorf("offer without media:\n%s", in.body)
			}
		}
		a.tag = token()
		a.send(a.reply(in, 180, "Ringing", ""))
		if blank {
			a.send(a.reply(in, 200, "OK", sdpFrom(a.local, "a=inactive")))
		} else {
			a.send(a.reply(in, 200, "OK", sdpFrom(a.local)))
		}
		ack := a.request("ACK")
		if !blank && !strings.Contains(ack.body, "a=inactive") {
			t.Errorf("the ACK carries\n%s", ack.body)
		}
		out := b.request("INVITE")
		if !strings.Contains(out.header("From"), "sip:8001@") || !strings.Contains(out.body, "m=audio") || strings.Contains(out.body, "a=inactive") {
			t.Errorf("INVITE\n%s", out.text())
		}
		b.tag = token()
		b.send(b.reply(out, 180, "Ringing", ""))
		b.send(b.reply(out, 200, "OK", sdpFrom(b.local)))
		b.request("ACK")
		re := a.answerOffer(sdpFrom(a.local))
		if !strings.Contains(re.header("P-Asserted-Identity"), "2001") {
			t.Errorf("the first party talks to %s", re.header("P-Asserted-Identity"))
		}
		eventually(t, "established", func() bool { return state(x) == call.StateEstablished })
		k := &talk{a: a, b: b, da: a.dialogOfCallee(in), db: b.dialogOfCallee(out)}
		reinvite(t, k, k.db, sdpFrom(b.local, "a=sendonly"), sdpFrom(a.local, "a=recvonly"))
		k.hangUp(k.da)
		r := x.wantRecords(want)[0]
		if r.From != "8001" || r.To != "2001" || !r.Originated || len(r.Linked) != 1 || r.Result != cdr.Answered {
			t.Errorf("record %+v", r)
		}
	}
}

// The second party does not answer: the first one is told and hung up.
func TestOriginateFails(t *testing.T) {
	t.Parallel()
	x := newExchange(t, labOptions{})
	a, b := newPhone(t, x, "8001", "UDP", "127.0.0.11"), newPhone(t, x, "2001", "UDP", "127.0.1.12")
	a.register()
	for _, tt := range []struct {
		from, to string
		want     error
	}{{"4711", "8001", call.ErrUnknownExtension}, {"8001", "4711", call.ErrNotAllowed}, {"2001", "8001", call.ErrRefused}} {
		if _, err := x.calls.Originate(t.Context(), call.Origination{From: tt.from, To: tt.to}); !errors.Is(err, tt.want) {
			t.Errorf("%s to %s: %v, want %v", tt.from, tt.to, err, tt.want)
		}
	}
	for _, registered := range []bool{false, true} {
		if registered {
			b.register()
		}
		if _, err := x.calls.Originate(t.Context(), call.Origination{From: "8001", To: "2001"}); err != nil {
			t.Fatal(err)
		}
		in := a.request("INVITE")
		a.tag = token()
		a.send(a.reply(in, 200, "OK", sdpFrom(a.local)))
		a.request("ACK")
		want := "cause=480"
		if registered {
			out := b.request("INVITE")
			b.send(b.reply(out, 486, "Busy Here", ""))
			want = "cause=486"
		}
		if bye := a.bye(); !strings.Contains(bye.header("Reason"), want) {
			t.Errorf("Reason %q, want %s", bye.header("Reason"), want)
		}
	}
	eventually(t, "no call left", func() bool { return len(x.calls.Snapshot()) == 0 })
}
