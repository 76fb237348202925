package call_test

import (
	"strings"
	"testing"

	"linehall/sip/call"
)

func t38(addr string) string {
	audio := sdpFrom(addr)
	head, _, _ := strings.Cut(audio, "m=audio")
	return head + "m=image 41000 udptl t38\r\na=T38FaxVersion:0\r\na=T38MaxBitRate:14400\r\na=T38FaxRateManagement:transferredTCF\r\na=T38FaxUdpEC:t38UDPRedundancy\r\n"
}

// A fax switches to T.38 across a line: the stream is relayed as it is, the call is marked.
func TestT38(t *testing.T) {
	t.Parallel()
	x, k := acrossSites(t, labOptions{})
	in := reinvite(t, k, k.db, t38(k.b.local), t38(k.a.local))
	for _, line := range []string{" udptl t38\r\n", "a=T38MaxBitRate:14400\r\n", "a=T38FaxUdpEC:t38UDPRedundancy\r\n"} {
		if !strings.Contains(in.body, line) {
			t.Errorf("%q is missing in\n%s", line, in.body)
		}
	}
	if strings.Contains(in.body, "m=image 41000") {
		t.Error("not relayed")
	}
	eventually(t, "marked", func() bool { return x.calls.Snapshot()[0].Media == "fax" })
	reinvite(t, k, k.da, sdpFrom(k.a.local), sdpFrom(k.b.local)) // back to voice
	k.hangUp(k.da)
	if r := x.wantRecords(1)[0]; r.Media != "fax" {
		t.Errorf("record %+v", r)
	}
}

// A phone that is no fax says so, and people talk on.
func TestT38Refused(t *testing.T) {
	t.Parallel()
	x, k := acrossSites(t, labOptions{})
	own := k.da.send("INVITE", t38(k.a.local))
	in := k.b.request("INVITE")
	k.b.send(k.b.reply(in, 488, "Not Acceptable Here", ""))
	k.b.request("ACK")
	k.a.send(k.a.ackFailure(own, k.a.status("INVITE", 488)))
	re := reinvite(t, k, k.da, sdpFrom(k.a.local), sdpFrom(k.b.local))
	if port(re.body) != port(k.invite.body) {
		t.Errorf("port %s, was %s", port(re.body), port(k.invite.body))
	}
	if s := x.calls.Snapshot()[0]; s.Media != "voice" || s.State != call.StateEstablished {
		t.Errorf("%+v", s)
	}
	k.hangUp(k.da)
}

// Modems and faxes over G.711 pass as they are and are marked.
func TestModemPassThrough(t *testing.T) {
	t.Parallel()
	for name, lines := range map[string][]string{
		"clear channel": {"a=silenceSupp:off - - - -", "a=ecan:fb off -"},
		"V.152":         {"a=gpmd:8 vbd=yes;ecan=off"},
	} {
		x, k := acrossSites(t, labOptions{})
		in := reinvite(t, k, k.da, sdpFrom(k.a.local, lines...), sdpFrom(k.b.local, lines...))
		if !strings.Contains(in.body, lines[0]) {
			t.Errorf("%s:\n%s", name, in.body)
		}
		eventually(t, "marked", func() bool { return x.calls.Snapshot()[0].Media == "modem" })
		k.hangUp(k.da)
		if r := x.wantRecords(1)[0]; r.Media != "modem" {
			t.Errorf("record %+v", r)
		}
	}
	// Adapters that switch silence suppression off in every call are no modems.
	x, a, b := phones(t, labOptions{})
	a.invite("8002", sdpFrom(a.local, "a=silenceSupp:off - - - -"))
	inv := b.request("INVITE")
	b.send(b.reply(inv, 200, "OK", sdpFrom(b.local, "a=silenceSupp:off - - - -")))
	a.status("INVITE", 200)
	eventually(t, "voice", func() bool { s := x.calls.Snapshot(); return len(s) == 1 && s[0].Media == "voice" })
}
