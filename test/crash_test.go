package test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
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

// lateUnderWay has a phone ask the other for an offer and not answer it yet; see huntUnderWay. Over TCP it comes back over
// another connection.
func (a *appliance) lateUnderWay(t *testing.T, asks, other *handset) (after func()) {
	t.Helper()
	asks.register()
	other.register()
	late, _ := asks.calls(other)
	late.send("INVITE", "")
	re := other.request("INVITE")
	other.reply(re, "200 OK", "", other.sdp(4010, "a=sendonly"))
	before := asks.response("INVITE", 200)
	a.eventually(5*time.Second, "what waits for its ACK is stored", func() error {
		return a.storedWith(`%"late":true%`, "%"+other.local+"%")
	})
	return func() {
		t.Helper()
		if asks.transport == "TCP" {
			host, _, _ := net.SplitHostPort(asks.local)
			asks = a.handset(t, asks.acc.Extension, host, "TCP")
			asks.register()
			late.h = asks
		}
		answer := asks.response("INVITE", 200) // said again
		if answer.body != before.body {
			t.Errorf("the offer has become\n%s", answer)
		}
		late.acknowledge(answer, asks.sdp(4012, "a=recvonly"))
		if ack := other.request("ACK"); !strings.Contains(ack.body, "a=recvonly") {
			t.Errorf("acknowledged with\n%s", ack)
		}
		late.hangUp(other)
	}
}

// A phone that says 100 to a new offer and then nothing keeps nobody waiting for ever (RFC 3261 §16.6, Timer C): after three
// minutes its INVITE is cancelled, whoever asked hears so, and the call is what it was.
func TestSoakSilenceAfterTrying(t *testing.T) {
	if os.Getenv("LINEHALL_SOAK") == "" {
		t.Skip("runs under make soak: Timer C is more than three minutes")
	}
	a := startAppliance(t)
	asks, silent := a.handset(t, "8040", "127.0.0.40", "UDP"), a.handset(t, "8041", "127.0.0.41", "UDP")
	asks.register()
	silent.register()
	call, _ := asks.calls(silent)
	call.send("INVITE", asks.sdp(4004))
	re := silent.request("INVITE")
	began := time.Now()
	silent.reply(re, "100 Trying", "", "")
	a.eventually(4*time.Minute, "the offer is cancelled", func() error {
		silent.drain()
		if !slices.ContainsFunc(silent.waiting, func(m sipText) bool { return strings.HasPrefix(m.start, "CANCEL") }) {
			return errors.New("silence")
		}
		return nil
	})
	if took := time.Since(began); took < 3*time.Minute {
		t.Errorf("cancelled after %v", took)
	}
	silent.reply(silent.request("CANCEL"), "200 OK", "", "")
	silent.reply(re, "487 Request Terminated", "", "")
	silent.request("ACK")
	res := asks.response("INVITE", 0)
	if res.code() < 400 {
		t.Errorf("whoever asked hears %s", res)
	}
	call.acknowledge(res, "")
	call.hangUp(silent)
}
