package call_test

import (
	"strings"
	"testing"

	"linehall/sip/cdr"
)

// webSDP is what a browser describes: DTLS-SRTP and ICE.
func webSDP(setup string) string {
	return "v=0\r\no=- 4611 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111 8\r\nc=IN IP4 0.0.0.0\r\n" +
		"a=rtcp:9 IN IP4 0.0.0.0\r\na=candidate:1 1 udp 2113937151 127.0.0.1 40100 typ host\r\na=ice-ufrag:Zq1k\r\na=ice-pwd:0QpXx1cWzZ7eR2dLrJ4vQ1kT\r\n" +
		"a=fingerprint:sha-256 19:E2:1C:3B:4B:9F:81:E6:B8:5C:F4:A5:A8:D8:73:04:BB:05:2F:70:9F:04:A9:0E:05:E9:26:33:E8:70:88:A2\r\n" +
		"a=setup:" + setup + "\r\na=mid:0\r\na=sendrecv\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\na=rtpmap:8 PCMA/8000\r\n"
}

// Two browsers of one site call each other over their WebSockets; what they say of ICE and DTLS passes untouched.
func TestBrowsersTalk(t *testing.T) {
	t.Parallel()
	x := newExchange(t, labOptions{})
	a, b := newPhone(t, x, "8001", "WS", "127.0.0.1"), newPhone(t, x, "8002", "WS", "127.0.0.1")
	a.register()
	b.register()
	a.invite("8002", webSDP("actpass"))
	inv := b.request("INVITE")
	for _, want := range []string{"a=ice-pwd:0QpXx1cWzZ7eR2dLrJ4vQ1kT", "a=fingerprint:sha-256 19:E2", "a=candidate:1 1 udp 2113937151 127.0.0.1 40100 typ host", "UDP/TLS/RTP/SAVPF 111 8"} {
		if !strings.Contains(inv.body, want) {
			t.Errorf("the callee does not read %q:\n%s", want, inv.body)
		}
	}
	if uri := strings.Fields(inv.first)[1]; uri != uriOf(b.contact()) || !strings.Contains(inv.header("Contact"), ";transport=ws") || !strings.HasPrefix(inv.header("Via"), "SIP/2.0/WS ") {
		t.Errorf("got:\n%s", inv.text())
	}
	b.tag = token()
	b.send(b.reply(inv, 200, "OK", webSDP("active")))
	ok := a.status("INVITE", 200)
	if !strings.Contains(ok.body, "a=setup:active") {
		t.Errorf("the caller reads:\n%s", ok.body)
	}
	da, db := a.dialogOfCaller(ok), b.dialogOfCallee(inv)
	b.request("ACK")
	da.send("ACK", "")
	(&talk{a: a, b: b, da: da, db: db, invite: inv, ok: ok}).hangUp(db)
	if r := x.wantRecords(1)[0]; r.Result != cdr.Answered {
		t.Errorf("record %+v", r)
	}
}

// Between a browser and a desk phone, and between browsers of two sites, media needs a gateway.
func TestBrowserMediaNeedsAGateway(t *testing.T) {
	t.Parallel()
	x := newExchange(t, labOptions{})
	desk, branch := newPhone(t, x, "8001", "UDP", "127.0.0.1"), newPhone(t, x, "2001", "WS", "127.0.1.1")
	page := newPhone(t, x, "8002", "WS", "127.0.0.1")
	for _, p := range []*phone{desk, branch, page} {
		p.register()
	}
	refused := func(t *testing.T, from *phone, number, body string) {
		t.Helper()
		invite := from.invite(number, body)
		res := from.final("INVITE")
		if res.code() != 488 || !strings.Contains(res.header("Warning"), "399") || !strings.Contains(res.header("Warning"), "browser") {
			t.Errorf("got:\n%s", res.text())
		}
		from.ackFailure(invite, res)
	}
	t.Run("browser to desk phone", func(t *testing.T) { refused(t, page, "8001", webSDP("actpass")) })
	t.Run("desk phone to browser", func(t *testing.T) { refused(t, desk, "8002", sdpFrom(desk.local)) })
	t.Run("browsers of two sites", func(t *testing.T) { refused(t, page, "2001", webSDP("actpass")) })
	t.Run("a browser's offer in its answer", func(t *testing.T) {
		invite := desk.invite("8002", "")
		inv := page.request("INVITE")
		page.tag = token()
		page.send(page.reply(inv, 200, "OK", webSDP("actpass")))
		if ack := page.request("ACK"); ack == nil {
			t.Fatal("no ACK")
		}
		page.request("BYE")
		res := desk.final("INVITE")
		if res.code() != 488 {
			t.Errorf("got:\n%s", res.text())
		}
		desk.ackFailure(invite, res)
	})
}

// A page that is closed cannot be called: its flow is never dialled.
func TestBrowserGone(t *testing.T) {
	t.Parallel()
	x := newExchange(t, labOptions{})
	a, b := newPhone(t, x, "8001", "WS", "127.0.0.1"), newPhone(t, x, "8002", "WS", "127.0.0.1")
	a.register()
	b.register()
	_ = b.conn.Close()
	eventually(t, "the connection is gone", func() bool { return x.connections() == 1 })
	a.invite("8002", webSDP("actpass"))
	if res := a.final("INVITE"); res.code() != 480 {
		t.Errorf("got:\n%s", res.text())
	}
}
