package anchor_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"linehall/media/anchor"
	"linehall/media/line"
	"linehall/media/sdp"
)

// Two offers, because one party picked up the call that the other makes: each gets an answer to its own, the media runs
// between them, and the line holds what both agreed to.
func TestCrossedOffersAreRelayed(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	caller, picker := newPhone(t, "127.0.1.1"), newPhone(t, "127.0.2.1")
	c := o.anchor.Open(line.Holder{Class: line.Voice, Name: "call"}, caller.party("branch1"))
	p := c.Branch("picker", picker.party("branch2"))
	toCaller, toPicker, pairs, err := p.Cross(caller.body("18 8 0"), picker.body("8 9"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int{0}, pairs); diff != "" || p.Kind() != anchor.Relayed || p.Codec() != "PCMA" {
		t.Errorf("path %s, codec %s, pairs %v", p.Kind(), p.Codec(), pairs)
	}
	for _, body := range [][]byte{toCaller, toPicker} {
		if to := target(t, body); to.Addr() != ours {
			t.Errorf("media goes to %s, not to us:\n%s", to, body)
		}
	}
	o.wants("in the call", both(g711), both(g711))
	for range 3 {
		picker.hears(caller.talk(toCaller))
		caller.hears(picker.talk(toPicker))
	}
	c.Close()
	o.wants("after the call", line.Rate{}, line.Rate{})
	if o.relay.Streams() != 0 {
		t.Error("a stream stayed open")
	}
}

func TestCrossedOffersInsideASiteAreDirect(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	caller, picker := newPhone(t, "127.0.1.1"), newPhone(t, "127.0.1.2")
	c := o.anchor.Open(line.Holder{Class: line.Voice, Name: "call"}, caller.party("branch1"))
	p := c.Branch("picker", picker.party("branch1"))
	toCaller, toPicker, _, err := p.Cross(caller.body("8"), picker.body("0 8"))
	if err != nil {
		t.Fatal(err)
	}
	if to := target(t, toCaller); to.Port() != picker.port || to.Addr() != picker.host {
		t.Errorf("the caller sends to %s", to)
	}
	if to := target(t, toPicker); to.Port() != caller.port || to.Addr() != caller.host {
		t.Errorf("the picker sends to %s", to)
	}
	if p.Kind() != anchor.Direct || o.relay.Streams() != 0 {
		t.Errorf("path %s, %d streams", p.Kind(), o.relay.Streams())
	}
	o.wants("in the call", line.Rate{}, line.Rate{})
	c.Close()
}

// The sections stand in another order, and one side has a picture that the other has not: audio meets audio.
func TestCrossedSectionsMeetByMedium(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	caller, picker := newPhone(t, "127.0.1.1"), newPhone(t, "127.0.2.1")
	c := o.anchor.Open(line.Holder{Class: line.Voice, Name: "call"}, caller.party("branch1"))
	defer c.Close()
	p := c.Branch("picker", picker.party("branch2"))
	video := fmt.Sprintf("m=video %d RTP/AVP 97\r\na=rtpmap:97 H264/90000\r\n", caller.port+2)
	offer := bytes.Replace(caller.body("8"), []byte("m=audio"), []byte(video+"m=audio"), 1)
	toCaller, toPicker, pairs, err := p.Cross(offer, picker.body("8"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int{-1, 0}, pairs); diff != "" {
		t.Errorf("pairs (-want +got):\n%s", diff)
	}
	a, b := media(t, toCaller), media(t, toPicker)
	if len(a) != 2 || a[0].Port() != 0 || a[1].Port() == 0 || len(b) != 1 || b[0].Port() == 0 {
		t.Errorf("the caller gets\n%s\nthe picker gets\n%s", toCaller, toPicker)
	}
	o.wants("in the call", both(g711), both(g711))
}

// Whatever cannot be crossed leaves the path as it was, also one that has an offer already.
func TestCrossFails(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	caller, picker := newPhone(t, "127.0.1.1"), newPhone(t, "127.0.2.1")
	c := o.anchor.Open(line.Holder{Class: line.Voice, Name: "call"}, caller.party("branch1"))
	p := c.Branch("picker", picker.party("branch2"))
	var bad *sdp.ParseError
	if _, _, _, err := p.Cross(caller.body("8"), []byte("nonsense")); !errors.As(err, &bad) {
		t.Errorf("a picker's nonsense: %v", err)
	}
	if _, _, _, err := p.Cross([]byte("nonsense"), picker.body("8")); !errors.As(err, &bad) {
		t.Errorf("a caller's nonsense: %v", err)
	}
	if _, _, _, err := p.Cross(caller.body("8"), picker.body("18")); !errors.Is(err, sdp.ErrNothingInCommon) {
		t.Errorf("no codec in common: %v", err)
	}
	o.wants("afterwards", line.Rate{}, line.Rate{})
	full := o.fill(g711 / 2)
	var refused *line.Refused
	if _, _, _, err := p.Cross(caller.body("8"), picker.body("8")); !errors.As(err, &refused) {
		t.Errorf("on a full line: %v", err)
	}
	full.Release()
	if _, _, _, err := p.Cross(caller.body("8"), picker.body("8")); err != nil {
		t.Errorf("with room again: %v", err)
	}
	c.Close()
	if o.relay.Streams() != 0 {
		t.Error("a stream stayed open")
	}
}
