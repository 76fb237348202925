package stack_test

import (
	"errors"
	"testing"

	"github.com/emiago/sipgo/sip"

	"linehall/sip/stack"
)

// A gateway is another stack: we open the connection, check its certificate, and requests go both ways.
func TestDialTLS(t *testing.T) {
	server, client := certificates(t)
	client.ServerName = "127.0.0.1"
	gateway := start(t, stack.Options{Listen: []stack.Listen{{Transport: stack.TLS, Address: "127.0.0.1:0"}}, TLS: server}, nil)
	e := start(t, stack.Options{Listen: []stack.Listen{{Transport: stack.TLS, Address: "127.0.0.1:0"}}, TLS: server}, nil)
	remote := gateway.Listeners()[0].Address
	flow, err := e.DialTLS(t.Context(), remote, client)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := e.DialTLS(t.Context(), remote, client); err != nil || again != flow {
		t.Errorf("a second connection: %s and %s, %v", flow, again, err)
	}
	if flow.Local.Port() != e.Listeners()[0].Address.Port() {
		t.Errorf("the flow's own port is %d, not that of our listener", flow.Local.Port())
	}
	tx, err := e.Request(t.Context(), options(t, "sip:gateway@"+remote.String()+";transport=tls"), flow)
	if err != nil {
		t.Fatal(err)
	}
	if res := <-tx.Responses(); res == nil || res.StatusCode != 200 {
		t.Errorf("OPTIONS over it: %v", res)
	}
	other := client.Clone()
	other.ServerName = "another.example"
	if _, err := e.DialTLS(t.Context(), remote, other); !errors.Is(err, stack.ErrFlowGone) {
		t.Errorf("a certificate for another name: %v", err)
	}
	nameless := client.Clone()
	nameless.ServerName = ""
	if _, err := e.DialTLS(t.Context(), remote, nameless); !errors.Is(err, stack.ErrFlowGone) {
		t.Errorf("no name to check: %v", err)
	}
}

func options(t *testing.T, uri string) *sip.Request {
	t.Helper()
	var target sip.Uri
	if err := sip.ParseUri(uri, &target); err != nil {
		t.Fatal(err)
	}
	req := sip.NewRequest(sip.OPTIONS, target)
	from := &sip.FromHeader{Address: sip.Uri{Scheme: "sip", User: "us", Host: "linehall.test"}, Params: sip.HeaderParams{{K: "tag", V: "t"}}}
	req.AppendHeader(from)
	req.AppendHeader(&sip.ToHeader{Address: target})
	id := sip.CallIDHeader("dial-tls")
	req.AppendHeader(&id)
	req.AppendHeader(&sip.CSeqHeader{SeqNo: 1, MethodName: sip.OPTIONS})
	return req
}
