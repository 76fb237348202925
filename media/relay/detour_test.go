package relay_test

import (
	"bytes"
	"sync"
	"testing"
	"time"

	"linehall/media/srtp"
)

// elsewhere keeps what is led to it.
type elsewhere struct {
	mu   sync.Mutex
	seen [2][][]byte
}

func (e *elsewhere) Take(leg int, _ int64, b []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.seen[leg] = append(e.seen[leg], bytes.Clone(b))
}

func (e *elsewhere) taken(leg int) [][]byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.seen[leg]
}

// While a stream is diverted its parties hear what we say and nothing of each other, whoever looks on sees what they said, and
// strangers are not heard; afterwards they hear each other, and we are silent.
func TestDivertedPartiesHearUs(t *testing.T) {
	t.Parallel()
	b, caller, callee := call(t)
	stranger := newPhone(t, loopback, 9)
	one, two := caller.packet(), callee.packet()
	caller.send(caller.rtp, b.stream.Port(0), one)
	callee.hears(callee.rtp, one)
	callee.send(callee.rtp, b.stream.Port(1), two)
	caller.hears(caller.rtp, two)
	if b.stream.Say(0, one) {
		t.Error("said before it was diverted")
	}

	e, l := &elsewhere{}, &listener{alter: -1}
	b.stream.Tap(l)
	b.stream.Divert(e)
	three, ours := caller.packet(), newPhone(t, loopback, 5).packet()
	caller.send(caller.rtp, b.stream.Port(0), three)
	stranger.send(stranger.rtp, b.stream.Port(0), stranger.packet())
	caller.send(caller.rtcp, b.stream.Port(0)+1, []byte{0x80, 201, 0, 1, 0, 0, 0, 1})
	before := b.stream.Stats()
	if !b.stream.Say(1, ours) || !b.stream.Say(0, ours) {
		t.Fatal("not said")
	}
	callee.hears(callee.rtp, ours)
	caller.hears(caller.rtp, ours)
	eventually(t, "the caller's packet is taken", func() bool { return len(e.taken(0)) == 1 })
	callee.hearsNothing(callee.rtp)
	callee.hearsNothing(callee.rtcp)
	if got := e.taken(0); len(got) != 1 || !bytes.Equal(got[0], three) || len(e.taken(1)) != 0 {
		t.Errorf("taken: %x", got)
	}
	if said, _ := l.heard(); len(said) != 1 || !bytes.Equal(said[0], three) {
		t.Errorf("who looks on saw %x", said)
	}
	if after := b.stream.Stats(); after[0].Packets < before[0].Packets || after[0].Packets != 2 {
		t.Errorf("counted %d packets of the caller", after[0].Packets)
	}

	held := callee.peer()
	held.Held = true
	b.stream.Expect(1, held)
	if b.stream.Say(1, ours) {
		t.Error("said to a party that wants nothing")
	}
	b.stream.Expect(1, callee.peer())

	b.stream.Divert(nil)
	if b.stream.Say(0, ours) {
		t.Error("said after it was diverted")
	}
	four := caller.packet()
	caller.send(caller.rtp, b.stream.Port(0), four)
	callee.hears(callee.rtp, four)
	b.stream.Divert(e)
	b.stream.Close()
	if b.stream.Say(0, ours) {
		t.Error("said after the end")
	}
}

// Where the SRTP of a party ends here, what it said is taken clear and what we say is sealed; what parties encrypt from end to
// end goes straight.
func TestDivertedWhereSRTPEndsHere(t *testing.T) {
	t.Parallel()
	b, caller, callee := call(t)
	ours, theirs := srtp.NewKey(srtp.AEADAES128GCM), srtp.NewKey(srtp.AESCM128HMACSHA180)
	there := srtp.NewSession(theirs, ours)
	secured := caller.peer()
	secured.Secure, secured.Security = true, srtp.NewSession(ours, theirs)
	b.stream.Expect(0, secured)
	e := &elsewhere{}
	b.stream.Divert(e)
	p := caller.packet()
	sealed := append(bytes.Clone(p), make([]byte, srtp.Overhead)...)
	n, ok := there.Seal(sealed, len(p), false)
	if !ok {
		t.Fatal("not sealed")
	}
	caller.send(caller.rtp, b.stream.Port(0), sealed[:n])
	eventually(t, "taken", func() bool { return len(e.taken(0)) == 1 })
	if got := e.taken(0)[0]; !bytes.Equal(got[12:], p[12:]) {
		t.Errorf("taken: %x", got)
	}
	word := callee.packet()
	kept := bytes.Clone(word)
	if !b.stream.Say(0, word) {
		t.Fatal("not said")
	}
	heard, _ := caller.receive(caller.rtp)
	if n, ok = there.Open(heard, false); !ok || !bytes.Equal(heard[12:n], word[12:]) {
		t.Errorf("heard %x", heard)
	}
	if !bytes.Equal(word, kept) {
		t.Error("what was said was changed")
	}

	secured.Security = nil
	b.stream.Expect(0, secured)
	q := caller.packet()
	caller.send(caller.rtp, b.stream.Port(0), q)
	callee.hears(callee.rtp, q)
}

// Turning it on and off, and the end, while packets come and things are said: nothing races, nothing hangs.
func TestDivertingUnderLoad(t *testing.T) {
	t.Parallel()
	b, caller, callee := call(t)
	stop := make(chan struct{})
	var work sync.WaitGroup
	for leg, p := range []*phone{caller, callee} {
		word := p.packet()
		work.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					p.send(p.rtp, b.stream.Port(leg), p.packet())
					b.stream.Say(leg, word)
				}
			}
		})
	}
	for range 200 {
		b.stream.Divert(&elsewhere{})
		b.stream.Divert(nil)
	}
	b.stream.Divert(&elsewhere{})
	close(stop)
	work.Wait()
	b.stream.Close()
}

// eventually waits for what another goroutine brings about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}
