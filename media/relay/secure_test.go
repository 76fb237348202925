package relay_test

import (
	"bytes"
	"testing"

	"linehall/media/srtp"
)

// A phone with SRTP talks to one without: the relay opens and seals, drops what is forged or repeated before it could
// move the latch, and lets nothing out in clear.
func TestSecuredParty(t *testing.T) {
	a, b := newPhone(t, loopback, 1), newPhone(t, loopback, 2)
	x := open(t, onLoopback(), false)
	ours, theirs := srtp.NewKey(srtp.AEADAES128GCM), srtp.NewKey(srtp.AESCM128HMACSHA180)
	end := srtp.NewSession(theirs, ours) // the phone's
	secured := a.peer()
	secured.Secure = true
	locked := secured
	locked.Security = srtp.NewSession(srtp.Key{}, srtp.Key{})
	x.stream.Expect(0, locked)
	x.stream.Expect(1, b.peer())

	b.send(b.rtp, x.stream.Port(1), b.packet())
	a.hearsNothing(a.rtp)
	secured.Security = srtp.NewSession(ours, theirs)
	x.stream.Expect(0, secured)

	seal := func(plain []byte) []byte {
		t.Helper()
		sealed := append(bytes.Clone(plain), make([]byte, srtp.Overhead)...)
		n, ok := end.Seal(sealed, len(plain), false)
		if !ok {
			t.Fatal("not sealed")
		}
		return sealed[:n]
	}
	stranger := newPhone(t, loopback, 3) // on the phone's host
	stranger.send(stranger.rtp, x.stream.Port(0), stranger.packet())
	b.hearsNothing(b.rtp)

	plain := a.packet()
	sealed := seal(plain)
	a.send(a.rtp, x.stream.Port(0), sealed)
	heard, _ := b.receive(b.rtp)
	if len(heard) != len(plain) || !bytes.Equal(heard[12:], plain[12:]) {
		t.Fatalf("heard %x", heard)
	}
	stranger.send(stranger.rtp, x.stream.Port(0), sealed)
	b.hearsNothing(b.rtp)
	if rtp, _ := x.stream.Latched(0); rtp != addr(a.rtp) {
		t.Errorf("latched to %v", rtp)
	}

	plain = b.packet()
	b.send(b.rtp, x.stream.Port(1), plain)
	got, _ := a.receive(a.rtp)
	if bytes.Contains(got, plain[12:]) {
		t.Fatal("in clear")
	}
	if n, ok := end.Open(got, false); !ok || !bytes.Equal(got[12:n], plain[12:]) {
		t.Fatalf("not opened: %x", got)
	}
	if s := x.stream.Stats(); s[0].Packets != 1 || s[1].Packets != 2 {
		t.Errorf("counted %d and %d", s[0].Packets, s[1].Packets)
	}
}
