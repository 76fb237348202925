package test

import (
	"context"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// dials has the appliance connect an extension to a number.
func (a *appliance) dials(t *testing.T, from, to string) {
	t.Helper()
	socket := filepath.Join(a.data, "linehall.sock")
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://linehall/api/v1/calls", strings.NewReader(`{"from":"`+from+`","to":"`+to+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := (&http.Client{Transport: transport, Timeout: 10 * time.Second}).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close() //nolint:errcheck // nothing of it is wanted
	if response.StatusCode != http.StatusAccepted {
		t.Fatalf("%s shall call %s: %s", from, to, response.Status)
	}
}

// ringsOn takes an INVITE that comes again after a crash, in the transaction of before.
func (h *handset) ringsOn(before sipText) sipText {
	h.t.Helper()
	again := h.request("INVITE")
	if again.header.Get("Via") != before.header.Get("Via") || again.body != before.body {
		h.t.Errorf("not the same again:\n%s\nafter\n%s", again, before)
	}
	return again
}

// huntUnderWay has a linear group of 8041 and 8042 ring at its second member; what it returns is to be true after a crash.
func (a *appliance) huntUnderWay(t *testing.T, group string) (after func()) {
	t.Helper()
	caller, first, second := a.handset(t, "8040", "127.0.0.40", "UDP"), a.handset(t, "8041", "127.0.0.41", "UDP"), a.handset(t, "8042", "127.0.0.42", "UDP")
	for _, h := range []*handset{caller, first, second} {
		h.register()
	}
	call := caller.begin("INVITE", group, caller.sdp(4020))
	first.reply(first.request("INVITE"), "486 Busy Here", "busy", "")
	first.request("ACK")
	invite := second.request("INVITE")
	second.reply(invite, "180 Ringing", "whoseturn", "")
	caller.response("INVITE", 180)
	a.eventually(5*time.Second, "whose turn it is, is stored", func() error { return a.storedWith(`%whoseturn%`) })
	return func() {
		t.Helper()
		again := second.ringsOn(invite)
		second.reply(again, "200 OK", "whoseturn", second.sdp(4022))
		second.request("ACK")
		call.acknowledge(caller.response("INVITE", 200), "")
		first.none("it has had its turn", invites)
		call.hangUp(second)
	}
}

// ownUnderWay has the appliance call 8043, which rings, to connect it to 8044; see huntUnderWay.
func (a *appliance) ownUnderWay(t *testing.T) (after func()) {
	t.Helper()
	from, to := a.handset(t, "8043", "127.0.0.43", "UDP"), a.handset(t, "8044", "127.0.0.44", "UDP")
	from.register()
	to.register()
	a.dials(t, "8043", "8044")
	invite := from.request("INVITE")
	from.reply(invite, "180 Ringing", "ownparty", "")
	a.eventually(5*time.Second, "the call of our own is stored", func() error { return a.storedWith(`%ownparty%`) })
	return func() {
		t.Helper()
		from.reply(from.ringsOn(invite), "200 OK", "ownparty", from.sdp(4024))
		from.request("ACK")
		out := to.request("INVITE")
		if !strings.Contains(out.header.Get("From"), "8043@") || !strings.Contains(out.body, "m=audio") {
			t.Errorf("8044 is called by\n%s", out)
		}
		to.reply(out, "200 OK", "theirs", to.sdp(4026))
		to.request("ACK")
		re := from.wait("the offer of the other", func(m sipText) bool { return invites(m) && strings.Contains(m.header.Get("To"), ";tag=") })
		from.reply(re, "200 OK", "", from.sdp(4024))
		from.request("ACK")
		to.called(out, "theirs").hangUp(from)
	}
}
