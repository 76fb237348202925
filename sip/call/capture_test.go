package call_test

import (
	"errors"
	"testing"

	"linehall/sip/call"
)

// The media of a call is captured from the word on, of both parties, beside whatever else goes on with it; not where it does not
// pass us, and of a call that is over it stays.
func TestMediaIsCaptured(t *testing.T) {
	x, k, p, all := conversation(t, supervised(labOptions{}))
	id := x.calls.Snapshot()[0].ID
	if err := x.calls.CaptureMedia(t.Context(), "none", true, "anna"); !errors.Is(err, call.ErrUnknownCall) {
		t.Errorf("no such call: %v", err)
	}
	if err := x.calls.CaptureMedia(t.Context(), id, true, "anna"); err != nil {
		t.Fatal(err)
	}
	of := func() (parties [2]int) {
		for packet := range x.captures.Of(id).Packets() {
			if packet.FromTheCaller {
				parties[0]++
			} else {
				parties[1]++
			}
		}
		return parties
	}
	eventually(t, "both are captured", func() bool { n := of(); return n[0] > 10 && n[1] > 10 })
	d := join(t, p, all[2], "*418001")
	before := of()
	eventually(t, "also with a third", func() bool { n := of(); return n[0] > before[0]+10 && n[1] > before[1]+10 })
	d.send("BYE", "")
	p.status("BYE", 200)
	if err := x.calls.CaptureMedia(t.Context(), id, false, "anna"); err != nil {
		t.Error(err)
	}
	n := of()
	want(t, "after the end", all, []*tone{all[1]}, []*tone{all[0]})
	if of() != n {
		t.Error("captured after the end")
	}
	k.hangUp(k.da)
	x.wantRecords(2)
	if of() != n {
		t.Error("the capture went with the call")
	}

	y := newExchange(t, labOptions{})
	a, b := newPhone(t, y, "8001", "UDP", "127.0.0.11"), newPhone(t, y, "8002", "UDP", "127.0.0.12")
	a.register()
	b.register()
	k = connect(t, a, b)
	eventually(t, "established", func() bool { return state(y) == call.StateEstablished })
	if err := y.calls.CaptureMedia(t.Context(), y.calls.Snapshot()[0].ID, true, "anna"); !errors.Is(err, call.ErrNotHere) {
		t.Errorf("a direct call: %v", err)
	}
	k.hangUp(k.da)
}
