package phone

import (
	"fmt"
	"slices"
	"testing"

	"github.com/emiago/sipgo/sip"
)

func notify(t *testing.T, seq int, event, state, kind, body string) *sip.Request {
	t.Helper()
	text := fmt.Sprintf("NOTIFY sip:8001@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK%d\r\n"+
		"From: <sip:8002@linehall.test>;tag=a\r\nTo: <sip:8001@linehall.test>;tag=b\r\nCall-ID: c1\r\nCSeq: %d NOTIFY\r\n"+
		"Event: %s\r\nSubscription-State: %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", seq, seq, event, state, kind, len(body), body)
	msg, err := sip.ParseMessage([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	req, ok := msg.(*sip.Request)
	if !ok {
		t.Fatalf("%T", msg)
	}
	return req
}

func TestNotifiesOfATransfer(t *testing.T) {
	const fragment = "message/sipfrag;version=2.0"
	type step struct {
		event, state, kind, body string
		want                     int
	}
	for _, test := range []struct {
		name   string
		steps  []step
		codes  []int
		faults int
		over   bool
	}{
		{"success", []step{
			{"refer", "active;expires=60", fragment, "SIP/2.0 100 Trying\r\n", 200},
			{"refer;id=7", "active;expires=60", fragment, "SIP/2.0 180 Ringing\r\n", 200},
			{"refer", "terminated;reason=noresource", fragment, "SIP/2.0 200 OK\r\n", 200},
			{"refer", "terminated;reason=noresource", fragment, "SIP/2.0 200 OK\r\n", 481},
		}, []int{100, 180, 200}, 0, true},
		{"an earlier REFER of the dialog", []step{{"refer;id=6", "terminated", fragment, "SIP/2.0 200 OK\r\n", 481}}, nil, 0, false},
		{"an id that is none", []step{{"refer;id=x", "terminated", fragment, "SIP/2.0 200 OK\r\n", 481}}, nil, 0, false},
		{"final but active", []step{{"refer", "active", fragment, "SIP/2.0 404 Not Found\r\n", 200}}, []int{404}, 1, false},
		{"no state", []step{{"refer", "", fragment, "SIP/2.0 100 Trying\r\n", 200}}, []int{100}, 1, false},
		{"no fragment", []step{{"refer", "terminated", "text/plain", "done", 200}}, nil, 1, true},
		{"no status line", []step{{"refer", "terminated", fragment, "HTTP/1.1 200 OK\r\n", 200}}, nil, 1, true},
		{"no status", []step{{"refer", "terminated", fragment, "SIP/2.0 99 Low\r\n", 200}}, nil, 1, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := &referral{since: 7, done: make(chan struct{})}
			p := &Phone{}
			p.expect("c1", r)
			for i, s := range test.steps {
				if code, _ := p.notified(notify(t, 1+i, s.event, s.state, s.kind, s.body)); code != s.want {
					t.Errorf("NOTIFY %d is answered %d, want %d", 1+i, code, s.want)
				}
			}
			if !slices.Equal(r.told.Codes, test.codes) || len(r.told.Faults) != test.faults || r.over != test.over {
				t.Errorf("%v, faults %q, over %v", r.told.Codes, r.told.Faults, r.over)
			}
			p.expect("c1", nil)
			if code, _ := p.notified(notify(t, 9, "refer", "active", fragment, "SIP/2.0 100 Trying\r\n")); code != 481 {
				t.Errorf("behind the end: %d", code)
			}
		})
	}
}

func TestReferenceIsEscaped(t *testing.T) {
	d := Dialog{CallID: "a1@127.0.0.1", LocalTag: "l=1", RemoteTag: "r&2", EarlyOnly: true}
	if got, want := d.replaces(), "a1@127.0.0.1;to-tag=r&2;from-tag=l=1;early-only"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got, want := escape(d.replaces(), hvalueMarks), "a1%40127.0.0.1%3Bto-tag%3Dr%262%3Bfrom-tag%3Dl%3D1%3Bearly-only"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	p := &Phone{}
	p.cfg.Domain = "linehall.test"
	if got, want := p.numberURI("**80#02 @<>"), "sip:**80%2302%20%40%3C%3E@linehall.test"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
