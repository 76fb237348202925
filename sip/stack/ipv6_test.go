package stack_test

import (
	"context"
	"strings"
	"testing"

	"github.com/emiago/sipgo/sip"

	"linehall/sip/stack"
	"linehall/sip/stack/stacktest"
)

// TestIPv6References: what handlers and answers make of the addresses of RFC 5118 §4.
func TestIPv6References(t *testing.T) {
	uris := make(chan string, 1)
	e := start(t, stack.Options{}, func(s *stack.Stack) {
		s.Handle(sip.REGISTER, func(_ context.Context, req *stack.Request) {
			uris <- req.Recipient.Host
			_ = req.Tx.Respond(s.NewResponse(req, 200, "OK"))
		})
	})
	const via = "SIP/2.0/UDP [2001:db8::9:1]"
	for _, c := range []struct {
		name, uri, via, contact string
		code                    int
		host                    string
	}{
		{"4.1 a valid reference", "sip:[2001:db8::10]", via, "<sip:caller@[2001:db8::1]>", 200, "[2001:db8::10]"},
		{"4.2 without brackets", "sip:2001:db8::10", via, "<sip:caller@[2001:db8::1]>", 400, ""},
		{"4.3 a port that looks like an address", "sip:[2001:db8::10:5070]", via, "<sip:caller@[2001:db8::1]>", 200, "[2001:db8::10:5070]"},
		{"4.4 a port outside the brackets", "sip:[2001:db8::10]:5070", via, "<sip:caller@[2001:db8::1]>", 200, "[2001:db8::10]"},
		{"4.5 received with brackets", "sip:[2001:db8::10]", via + ";received=[2001:db8::9:255]", "<sip:caller@[2001:db8::1]>", 200, "[2001:db8::10]"},
		{"4.5 received without brackets", "sip:[2001:db8::10]", via + ";received=2001:db8::9:255", "<sip:caller@[2001:db8::1]>", 200, "[2001:db8::10]"},
		{"4.8 both families in one message", "sip:[2001:db8::10]", "SIP/2.0/UDP 192.0.2.1:5060", "<sip:caller@[2001:db8::1]>, <sip:caller@192.0.2.1>", 200, "[2001:db8::10]"},
		{"4.10 mapped IPv4", "sip:[::ffff:192.0.2.10]:19823", via, "<sip:caller@[::ffff:192.0.2.10]>", 200, "[::ffff:192.0.2.10]"},
		{"4.11 three colons of the old grammar", "sip:[2001:db8:::192.0.2.1]", via, "<sip:caller@[2001:db8::1]>", 200, "[2001:db8:::192.0.2.1]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := stacktest.DialUDP(t, e.addr(stack.UDP))
			branch := "z9hG4bKas3-" + strings.ReplaceAll(strings.Fields(c.name)[0], ".", "") + p.Local.String()
			p.Send("REGISTER "+c.uri+" SIP/2.0", "To: sip:user@example.com", "From: sip:user@example.com;tag=81x2",
				"Via: "+c.via+";branch="+strings.ReplaceAll(branch, ":", "-"), "Call-ID: SSG9559905523997077@hlau_4100", "Max-Forwards: 70",
				"Contact: "+c.contact, "CSeq: 98176 REGISTER")
			m := p.Final()
			if m.Code != c.code {
				t.Fatalf("got %s", m.Start)
			}
			if c.code == 200 {
				if host := <-uris; host != c.host {
					t.Errorf("host %s, want %s", host, c.host)
				}
				if got := m.Header("Via"); !strings.HasPrefix(got, strings.Split(c.via, ";")[0]) || !strings.Contains(got, "received=127.0.0.1") {
					t.Errorf("via %s", got)
				}
			}
		})
	}
}

func TestIPv6Loopback(t *testing.T) {
	s, err := stack.New(stack.Options{Listen: []stack.Listen{{Transport: stack.UDP, Address: "[::1]:0"}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Listen(t.Context()); err != nil {
		t.Skipf("no IPv6 here: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	p := stacktest.DialUDP(t, s.Listeners()[0].Address)
	p.Send(request(p, "OPTIONS", "v6", "v6")...)
	if m := p.Final(); m.Code != 200 || !strings.Contains(m.Header("Via"), "received=::1") {
		t.Errorf("got:\n%s", m.Raw)
	}
	flow := stack.Flow{Transport: stack.UDP, Local: s.Listeners()[0].Address, Remote: p.Local}
	if uri := s.ContactURI(flow, "x"); !strings.HasPrefix(uri.String(), "sip:x@[::1]:") {
		t.Errorf("contact %s", uri.String())
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
