package call_test

import (
	"strings"
	"testing"

	"linehall/sip/call"
)

// dialogsOf waits until the only call shows that many dialogs of the given extension, all in
// the wanted state, and returns them.
func dialogsOf(t *testing.T, x *exchange, extension string, n int, state call.DialogState) []call.DialogInfo {
	t.Helper()
	var found []call.DialogInfo
	eventually(t, "dialogs of "+extension+" are "+string(state), func() bool {
		found = nil
		for _, info := range x.calls.Snapshot() {
			for _, d := range info.Dialogs {
				if d.Extension == extension {
					if d.State != state {
						return false
					}
					found = append(found, d)
				}
			}
		}
		return len(found) == n
	})
	return found
}

// RFC 4235: a lamp names the dialog as the phone itself does, from the INVITE to the end.
func TestDialogsOfPhones(t *testing.T) {
	t.Parallel()
	x := newExchange(t, labOptions{})
	a, b, b2 := newPhone(t, x, "8001", "UDP", "127.0.0.11"), newPhone(t, x, "8002", "UDP", "127.0.0.12"), newPhone(t, x, "8002", "TCP", "127.0.0.13")
	for _, p := range []*phone{a, b, b2} {
		p.register()
	}
	inv := a.invite("8002", sdpFrom(a.local))
	ringing, ringing2 := b.request("INVITE"), b2.request("INVITE")
	dialogsOf(t, x, "8002", 2, call.DialogTrying)
	b.tag, b2.tag = token(), token()
	ring := b.reply(ringing, 180, "Ringing", "")
	b.send(ring)
	b2.send(b2.reply(ringing2, 180, "Ringing", ""))
	early := dialogsOf(t, x, "8002", 2, call.DialogEarly)
	called := early[0]
	if called.LocalTag != tagIn(ring.header("To")) {
		called = early[1]
	}
	want := call.DialogInfo{
		ID: called.ID, Extension: "8002", CallID: ringing.header("Call-ID"), LocalTag: tagIn(ring.header("To")), RemoteTag: tagIn(ringing.header("From")),
		State: call.DialogEarly, RemoteExtension: "8001", RemoteDisplay: `李 "Li"`, RemoteTarget: uriOf(ringing.header("Contact")),
	}
	if called != want {
		t.Errorf("called phone\n%+v, want\n%+v", called, want)
	}
	caller := dialogsOf(t, x, "8001", 1, call.DialogEarly)[0]
	first := a.status("INVITE", 180)
	if caller.CallID != inv.header("Call-ID") || caller.LocalTag != tagIn(inv.header("From")) || caller.RemoteTag != tagIn(first.header("To")) ||
		!caller.Initiator || caller.RemoteExtension != "8002" || caller.RemoteDisplay != "Wang" {
		t.Errorf("caller %+v", caller)
	}

	answer := b.reply(ringing, 200, "OK", sdpFrom(b.local))
	b.send(answer)
	res := a.status("INVITE", 200)
	d := a.dialogOfCaller(res)
	d.send("ACK", "")
	b.request("ACK")
	cancel := b2.request("CANCEL")
	b2.send(b2.reply(cancel, 200, "OK", ""))
	b2.send(b2.reply(ringing2, 487, "Request Terminated", ""))
	answered := dialogsOf(t, x, "8002", 1, call.DialogConfirmed)[0]
	if answered.ID != called.ID || answered.LocalTag != called.LocalTag || answered.RemoteTag != called.RemoteTag || answered.Held {
		t.Errorf("answered %+v, rang as %+v", answered, called)
	}
	if up := dialogsOf(t, x, "8001", 1, call.DialogConfirmed)[0]; up.ID != caller.ID || up.RemoteTag != tagIn(res.header("To")) {
		t.Errorf("caller in the call %+v", up)
	}
	d.send("BYE", "")
	b.send(b.reply(b.request("BYE"), 200, "OK", ""))
	eventually(t, "no call left", func() bool { return len(x.calls.Snapshot()) == 0 })
}

// tagIn reads the tag of a From or To value.
func tagIn(value string) string {
	_, tag, _ := strings.Cut(value, ";tag=")
	tag, _, _ = strings.Cut(tag, ";")
	return tag
}
