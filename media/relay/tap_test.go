package relay_test

import (
	"bytes"
	"sync"
	"testing"

	"linehall/media/srtp"
)

// listener keeps what it is shown, and changes the sound of one leg.
type listener struct {
	mu    sync.Mutex
	seen  [2][][]byte
	alter int // leg whose packets sound different; -1: none
}

func (l *listener) Packet(leg int, _ int64, b []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen[leg] = append(l.seen[leg], bytes.Clone(b))
	if leg == l.alter {
		b[len(b)-1] ^= 0xff
	}
}

func (l *listener) heard() (caller, callee [][]byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seen[0], l.seen[1]
}

// Who looks on is shown the packets of both parties and of nobody else, before they go on, as long as it does.
func TestTapSeesBothParties(t *testing.T) {
	t.Parallel()
	b, caller, callee := call(t)
	stranger := newPhone(t, loopback, 9)
	one := caller.packet()
	caller.send(caller.rtp, b.stream.Port(0), one)
	callee.hears(callee.rtp, one)

	l := &listener{alter: 1}
	b.stream.Tap(l)
	two, three := caller.packet(), callee.packet()
	caller.send(caller.rtp, b.stream.Port(0), two)
	callee.hears(callee.rtp, two)
	stranger.send(stranger.rtp, b.stream.Port(0), stranger.packet())
	callee.send(callee.rtp, b.stream.Port(1), three)
	changed := bytes.Clone(three)
	changed[len(changed)-1] ^= 0xff
	caller.hears(caller.rtp, changed)
	report := []byte{0x80, 201, 0, 1, 0, 0, 0, 1}
	caller.send(caller.rtcp, b.stream.Port(0)+1, report)
	callee.hears(callee.rtcp, report)

	b.stream.Expect(0, caller.peer()) // what signalling says leaves it there
	four := caller.packet()
	caller.send(caller.rtp, b.stream.Port(0), four)
	callee.hears(callee.rtp, four)
	b.stream.Tap(nil)
	five := caller.packet()
	caller.send(caller.rtp, b.stream.Port(0), five)
	callee.hears(callee.rtp, five)

	said, answered := l.heard()
	if len(said) != 2 || !bytes.Equal(said[0], two) || !bytes.Equal(said[1], four) {
		t.Errorf("of the caller it saw %x", said)
	}
	if len(answered) != 1 || !bytes.Equal(answered[0], three) {
		t.Errorf("of the callee it saw %x", answered)
	}
}

// It is shown clear sound where SRTP ends here, and nothing of what is encrypted from end to end.
func TestTapSeesNoCiphertext(t *testing.T) {
	t.Parallel()
	b, caller, callee := call(t)
	secured := caller.peer()
	secured.Secure = true
	l := &listener{alter: -1}
	b.stream.Tap(l)
	b.stream.Expect(0, secured)
	p := caller.packet()
	caller.send(caller.rtp, b.stream.Port(0), p)
	callee.hears(callee.rtp, p)
	if said, _ := l.heard(); len(said) != 0 {
		t.Fatalf("it saw %x", said)
	}

	ours, theirs := srtp.NewKey(srtp.AEADAES128GCM), srtp.NewKey(srtp.AESCM128HMACSHA180)
	secured.Security = srtp.NewSession(ours, theirs)
	b.stream.Expect(0, secured)
	p = caller.packet()
	sealed := append(bytes.Clone(p), make([]byte, srtp.Overhead)...)
	n, ok := srtp.NewSession(theirs, ours).Seal(sealed, len(p), false)
	if !ok {
		t.Fatal("not sealed")
	}
	caller.send(caller.rtp, b.stream.Port(0), sealed[:n])
	if heard, _ := callee.receive(callee.rtp); len(heard) != len(p) {
		t.Fatalf("heard %x", heard)
	}
	if said, _ := l.heard(); len(said) != 1 || !bytes.Equal(said[0][12:], p[12:]) {
		t.Errorf("it saw %x", said)
	}
}
