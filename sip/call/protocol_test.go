package call_test

import (
	"fmt"
	"strings"
	"testing"

	"linehall/sip/call"
)

// A phone behind a proxy of its own forks: each early dialog reaches the caller as one, with its
// own media; the answer of any of them is the call's.
func TestSeveralEarlyDialogs(t *testing.T) {
	t.Parallel()
	x := newExchange(t, labOptions{})
	a, b := newPhone(t, x, "8001", "UDP", "127.0.0.11"), newPhone(t, x, "2001", "UDP", "127.0.1.12")
	a.register()
	b.register()
	a.invite("2001", sdpFrom(a.local))
	inv := b.request("INVITE")
	var tags, early []string
	for i := range 3 {
		b.tag = fmt.Sprintf("fork%d", i)
		b.send(b.reply(inv, 183, "Session Progress", sdpFrom(b.local, fmt.Sprintf("a=x-fork:%d", i))))
		res := a.status("INVITE", 183)
		if !strings.Contains(res.body, fmt.Sprintf("a=x-fork:%d", i)) {
			t.Errorf("the media of fork %d:\n%s", i, res.body)
		}
		tags, early = append(tags, res.header("To")), append(early, res.body)
	}
	if tags[0] == tags[1] || tags[1] == tags[2] || tags[0] == tags[2] {
		t.Errorf("To-tags %q", tags)
	}
	b.tag = "fork1"
	b.send(b.reply(inv, 200, "OK", sdpFrom(b.local, "a=x-fork:1")))
	ok := a.status("INVITE", 200)
	if ok.header("To") != tags[1] || ok.body != early[1] {
		t.Errorf("answered as\n%s\nearly\n%s", ok.text(), early[1])
	}
	k := &talk{a: a, b: b, da: a.dialogOfCaller(ok), db: b.dialogOfCallee(inv)}
	k.da.send("ACK", "")
	b.request("ACK")
	eventually(t, "established", func() bool { return state(x) == call.StateEstablished })
	k.hangUp(k.da)
}

// Either side may renumber its payload types and add or drop media; m-lines never move or
// vanish (RFC 3264 §8).
func TestChangedMedia(t *testing.T) {
	t.Parallel()
	_, k := acrossSites(t, labOptions{})
	lines := func(body string) []string {
		var out []string
		for l := range strings.SplitSeq(body, "\r\n") {
			if strings.HasPrefix(l, "m=") {
				out = append(out, l)
			}
		}
		return out
	}
	renumbered := strings.Replace(sdpFrom(k.a.local, "a=rtpmap:97 opus/48000/2"), "RTP/AVP 8 0 101", "RTP/AVP 97 8 96", 1)
	renumbered = strings.Replace(renumbered, "a=rtpmap:101 ", "a=rtpmap:96 ", 1)
	in := reinvite(t, k, k.da, renumbered, strings.Replace(sdpFrom(k.b.local), "RTP/AVP 8 0 101", "RTP/AVP 8 96", 1))
	if got := lines(in.body); len(got) != 1 || !strings.HasSuffix(got[0], "RTP/AVP 97 8 96") || !strings.Contains(in.body, "a=rtpmap:96 telephone-event/8000") {
		t.Errorf("renumbered:\n%s", in.body)
	}
	video := "m=video 42000 RTP/AVP 99\r\na=rtpmap:99 H264/90000\r\n"
	in = reinvite(t, k, k.db, sdpFrom(k.b.local)+video, sdpFrom(k.a.local)+strings.Replace(video, "42000", "43000", 1))
	if got := lines(in.body); len(got) != 2 || !strings.HasPrefix(got[1], "m=video ") || strings.Contains(got[1], " 42000 ") {
		t.Errorf("with video: %q", got)
	}
	in = reinvite(t, k, k.da, sdpFrom(k.a.local)+"m=video 0 RTP/AVP 99\r\n", sdpFrom(k.b.local)+"m=video 0 RTP/AVP 99\r\n")
	if got := lines(in.body); len(got) != 2 || !strings.HasPrefix(got[0], "m=audio ") || !strings.HasPrefix(got[1], "m=video 0 ") {
		t.Errorf("without video: %q", got)
	}
	k.hangUp(k.da)
}

// What we say that we can do is what we can: Allow and Supported towards both, and Max-Forwards
// one less than the caller's.
func TestHeadersAreTrue(t *testing.T) {
	t.Parallel()
	_, a, b := phones(t, labOptions{})
	a.invite("8002", sdpFrom(a.local))
	inv := b.request("INVITE")
	b.tag = token()
	b.send(b.reply(inv, 180, "Ringing", ""))
	ringing := a.status("INVITE", 180)
	b.send(b.reply(inv, 200, "OK", sdpFrom(b.local)))
	ok := a.status("INVITE", 200)
	k := &talk{a: a, b: b, da: a.dialogOfCaller(ok), db: b.dialogOfCallee(inv)}
	k.da.send("ACK", "")
	b.request("ACK")
	for _, m := range []*message{inv, ringing, ok} {
		for _, method := range []string{"INVITE", "ACK", "CANCEL", "BYE", "PRACK", "UPDATE", "OPTIONS", "INFO"} {
			if !strings.Contains(m.header("Allow"), method) {
				t.Errorf("%s allows %q, not %s", m.first, m.header("Allow"), method)
			}
		}
		for _, tag := range []string{"100rel", "timer"} {
			if !strings.Contains(m.header("Supported"), tag) {
				t.Errorf("%s supports %q, not %s", m.first, m.header("Supported"), tag)
			}
		}
	}
	if inv.header("Max-Forwards") != "69" {
		t.Errorf("Max-Forwards %s", inv.header("Max-Forwards"))
	}
	k.hangUp(k.da)
}

// What a phone's refusal becomes for its caller.
func TestMappedResponses(t *testing.T) {
	t.Parallel()
	x, a, b := phones(t, labOptions{})
	for code, want := range map[int]int{400: 400, 401: 480, 403: 403, 404: 404, 407: 480, 408: 480, 480: 480, 486: 486, 488: 488, 500: 500, 503: 500, 600: 600, 603: 603, 606: 606} {
		own := a.invite("8002", sdpFrom(a.local))
		inv := b.request("INVITE")
		b.send(b.reply(inv, code, "Reply", ""))
		b.request("ACK")
		res := a.final("INVITE")
		a.send(a.ackFailure(own, res))
		if res.code() != want {
			t.Errorf("%d became %d, want %d", code, res.code(), want)
		}
		eventually(t, "the call has ended", func() bool { return len(x.calls.Snapshot()) == 0 })
	}
}

// An INVITE that has come too far is refused before anything rings.
func TestMaxForwards(t *testing.T) {
	t.Parallel()
	_, a, b := phones(t, labOptions{})
	a.call, a.tag = token(), token()
	m := a.inviteMessage("8002", sdpFrom(a.local))
	for i := range m.headers {
		if m.headers[i][0] == "Max-Forwards" {
			m.headers[i][1] = "0"
		}
	}
	a.send(m)
	a.send(a.ackFailure(m, a.status("INVITE", 483)))
	b.quiet("INVITE", func(m *message) bool { return m.method() == "INVITE" })
}
