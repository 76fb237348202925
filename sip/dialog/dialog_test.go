package dialog_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/emiago/sipgo/sip"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"linehall/media/sdp"
	"linehall/sip/dialog"
)

const inviteText = "INVITE sip:2001@linehall.test SIP/2.0\r\n" +
	"Via: SIP/2.0/UDP 127.0.0.9:5060;branch=z9hG4bK1\r\n" +
	"Record-Route: <sip:p2.test;lr>\r\nRecord-Route: <sip:p1.test;lr>\r\n" +
	"From: \"Li\" <sip:8001@linehall.test>;tag=from\r\n" +
	"To: <sip:2001@linehall.test>\r\n" +
	"Call-ID: one\r\nCSeq: 7 INVITE\r\nMax-Forwards: 70\r\n" +
	"Contact: <sip:8001@127.0.0.9:5060;ob?x=y>\r\nContent-Length: 0\r\n\r\n"

func parse(tb testing.TB, text string) sip.Message {
	tb.Helper()
	msg, err := sip.NewParser().ParseSIP([]byte(text))
	if err != nil {
		tb.Fatal(err)
	}
	return msg
}

func request(tb testing.TB, text string) *sip.Request {
	tb.Helper()
	return parse(tb, text).(*sip.Request)
}

func TestAccept(t *testing.T) {
	t.Parallel()
	d, err := dialog.Accept(request(t, inviteText), "ours")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(dialog.ID{CallID: "one", LocalTag: "ours", RemoteTag: "from"}, d.ID); diff != "" {
		t.Error(diff)
	}
	bye := d.Request(sip.BYE).String()
	for _, want := range []string{
		"BYE sip:8001@127.0.0.9:5060;ob SIP/2.0\r\n", // headers of the Contact never reach the request line
		"Route: <sip:p2.test;lr>\r\nRoute: <sip:p1.test;lr>\r\n",
		"From: <sip:2001@linehall.test>;tag=ours\r\n", "To: \"Li\" <sip:8001@linehall.test>;tag=from\r\n",
		"CSeq: 1 BYE\r\n",
	} {
		if !strings.Contains(bye, want) {
			t.Errorf("no %q in\n%s", want, bye)
		}
	}
	if next := d.Request(sip.INFO).CSeq().SeqNo; next != 2 {
		t.Errorf("CSeq %d, want 2", next)
	}
	if ack := d.Ack(1).CSeq(); ack.SeqNo != 1 || ack.MethodName != sip.ACK {
		t.Errorf("ACK CSeq %v", ack)
	}
}

func TestAcceptRefusesWithoutContact(t *testing.T) {
	t.Parallel()
	text := strings.Replace(inviteText, "Contact: <sip:8001@127.0.0.9:5060;ob?x=y>", "X: y", 1)
	if _, err := dialog.Accept(request(t, text), "ours"); !errors.Is(err, dialog.ErrIncomplete) {
		t.Errorf("got %v, want ErrIncomplete", err)
	}
}

func TestForkReversesRoutes(t *testing.T) {
	t.Parallel()
	invite := request(t, inviteText)
	res := parse(t, "SIP/2.0 180 Ringing\r\nVia: SIP/2.0/UDP 127.0.0.9:5060;branch=z9hG4bK1\r\n"+
		"Record-Route: <sip:a.test;lr>, <sip:b.test;lr>\r\n"+
		"From: <sip:8001@linehall.test>;tag=from\r\nTo: <sip:2001@linehall.test>;tag=theirs\r\n"+
		"Call-ID: one\r\nCSeq: 7 INVITE\r\nContact: <sip:2001@127.0.1.5>\r\nContent-Length: 0\r\n\r\n").(*sip.Response)
	d, err := dialog.Fork(invite, res)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"sip:b.test;lr", "sip:a.test;lr"}, d.Routes); diff != "" {
		t.Error(diff)
	}
	if d.Confirmed || d.Target != "sip:2001@127.0.1.5" || d.LocalSeq != 7 {
		t.Errorf("got %+v", d)
	}
	res.StatusCode = 200
	d.Confirm(res)
	if !d.Confirmed {
		t.Error("not confirmed by the 2xx")
	}
}

// RFC 3261 §12.2.1.1, the second example: the first route is a strict router.
func TestStrictRoute(t *testing.T) {
	t.Parallel()
	text := strings.Replace(inviteText, "<sip:p2.test;lr>", "<sip:p2.test>", 1)
	d, err := dialog.Accept(request(t, text), "ours")
	if err != nil {
		t.Fatal(err)
	}
	got := d.Request(sip.BYE).String()
	want := "BYE sip:p2.test SIP/2.0\r\nRoute: <sip:p1.test;lr>\r\nRoute: <sip:8001@127.0.0.9:5060;ob>\r\n"
	if !strings.HasPrefix(got, want) {
		t.Errorf("got\n%s\nwant prefix\n%s", got, want)
	}
}

func TestReceiveOrder(t *testing.T) {
	t.Parallel()
	d, err := dialog.Accept(request(t, inviteText), "ours")
	if err != nil {
		t.Fatal(err)
	}
	at := func(seq uint32, method sip.RequestMethod) error {
		req := request(t, inviteText)
		req.Method, req.CSeq().SeqNo, req.CSeq().MethodName = method, seq, method
		return d.Receive(req)
	}
	for _, step := range []struct {
		seq    uint32
		method sip.RequestMethod
		want   error
	}{{7, sip.ACK, nil}, {9, sip.INFO, nil}, {8, sip.INFO, dialog.ErrOutOfOrder}, {9, sip.BYE, dialog.ErrOutOfOrder}, {10, sip.BYE, nil}} {
		if err := at(step.seq, step.method); !errors.Is(err, step.want) {
			t.Errorf("%d %s: %v, want %v", step.seq, step.method, err, step.want)
		}
	}
}

func TestSurvivesJSON(t *testing.T) {
	t.Parallel()
	d, err := dialog.Accept(request(t, inviteText), "ours")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Session.Send([]byte(offer("audio", "video")), netip.MustParseAddr("127.0.0.1")); err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	var back dialog.Dialog
	if err := json.Unmarshal(raw, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(*d, back); diff != "" {
		t.Error(diff)
	}
}

func offer(kinds ...string) string {
	body := "v=0\r\no=phone 1 1 IN IP4 127.0.0.9\r\ns=-\r\nc=IN IP4 127.0.0.9\r\nt=0 0\r\n"
	for i, k := range kinds {
		body += fmt.Sprintf("m=%s %d RTP/AVP 8\r\na=x-from:%s%d\r\n", k, 4000+2*i, k, i)
	}
	return body
}

func version(tb testing.TB, body []byte) uint64 {
	tb.Helper()
	doc, err := sdp.Parse(body)
	if err != nil {
		tb.Fatal(err)
	}
	o, ok := doc.Origin()
	if !ok {
		tb.Fatalf("no o= line in\n%s", body)
	}
	return o.Version
}

// RFC 3264 §8: the version rises by one when the description changes and stays when it is the
// same, whoever wrote it.
func TestSessionVersion(t *testing.T) {
	t.Parallel()
	s, local := dialog.NewSession(), netip.MustParseAddr("127.0.0.1")
	send := func(body string) uint64 {
		out, err := s.Send([]byte(body), local)
		if err != nil {
			t.Fatal(err)
		}
		return version(t, out)
	}
	first := send(offer("audio"))
	if again := send(strings.Replace(offer("audio"), "o=phone 1 1", "o=other 5 9", 1)); again != first {
		t.Errorf("another author's same description: version %d, want %d", again, first)
	}
	if next := send(offer("audio", "video")); next != first+1 {
		t.Errorf("changed description: version %d, want %d", next, first+1)
	}
}

func TestSessionKeepsLines(t *testing.T) {
	t.Parallel()
	s, local := dialog.NewSession(), netip.MustParseAddr("127.0.0.1")
	if _, err := s.Send([]byte(offer("audio", "video")), local); err != nil {
		t.Fatal(err)
	}
	out, err := s.Send([]byte(offer("audio")), local)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(out), "m=video 0 RTP/AVP 8\r\n") {
		t.Errorf("the video line vanished:\n%s", out)
	}
	// The peer answers both; the call knows one.
	back, err := s.Receive([]byte("v=0\r\no=- 1 1 IN IP4 127.0.0.9\r\ns=-\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\nm=video 0 RTP/AVP 8\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(back), "m=video") {
		t.Errorf("a dead line reached the call:\n%s", back)
	}
}

// Whatever is sent, lines of the peer never move nor vanish; and what comes back in the peer's
// order arrives in the call's order.
func TestSessionLinesProperty(t *testing.T) {
	t.Parallel()
	local := netip.MustParseAddr("127.0.0.1")
	rapid.Check(t, func(t *rapid.T) {
		s := dialog.NewSession()
		seen := 0
		for range rapid.IntRange(1, 6).Draw(t, "offers") {
			kinds := rapid.SliceOfN(rapid.SampledFrom([]string{"audio", "video", "image"}), 1, 4).Draw(t, "kinds")
			body := []byte(offer(kinds...))
			out, err := s.Send(body, local)
			if err != nil {
				t.Fatal(err)
			}
			doc, err := sdp.Parse(out)
			if err != nil {
				t.Fatal(err)
			}
			if n := len(doc.Media()); n < seen || n < len(kinds) {
				t.Fatalf("%d lines after %d", n, seen)
			}
			seen = len(doc.Media())
			back, err := s.Receive(out)
			if err != nil {
				t.Fatal(err)
			}
			_, want, _ := strings.Cut(string(body), "\nm=")
			_, got, _ := strings.Cut(string(back), "\nm=")
			if got != want {
				t.Fatalf("came back as\n%s\nwant\n%s", got, want)
			}
		}
	})
}

func FuzzSession(f *testing.F) {
	f.Add([]byte(offer("audio")), []byte(offer("audio", "video")))
	f.Add([]byte("v=0\nm=audio 1 a b"), []byte("v=0\n\nm=x 0 a b\nm=y 1 a b"))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		s := dialog.NewSession()
		for _, body := range [][]byte{first, second, first} {
			if out, err := s.Send(body, netip.MustParseAddr("192.0.2.1")); err == nil && len(out) > 0 {
				if _, err := sdp.Parse(out); err != nil {
					t.Fatalf("wrote what cannot be read: %v\n%q", err, out)
				}
			}
			_, _ = s.Receive(body) // must not panic; errors are the peer's
		}
	})
}
