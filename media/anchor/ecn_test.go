package anchor_test

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"linehall/media/anchor"
	"linehall/media/line"
	"linehall/media/relay"
)

// Two phones that agreed on ECN (RFC 6679) keep the marks of their packets, also after a restart; others' are ours alone.
func TestMarksAreCarriedWhereTheyAreAgreed(t *testing.T) {
	t.Parallel()
	const congested = 3
	for name, c := range map[string]struct {
		line string
		want int
	}{"agreed": {"a=ecn-capable-rtp: ice rtp ect=0", congested}, "not agreed": {"a=ptime:20", 0}} { //nolint:misspell // RFC 6679
		t.Run(name, func(t *testing.T) {
			o := newOffice(t)
			caller, callee := newPhone(t, "127.0.1.1"), newPhone(t, "127.0.2.1")
			call := o.anchor.Open(line.Holder{Class: line.Voice, Name: "call"}, caller.party("branch1"))
			t.Cleanup(func() { call.Close() })
			p := call.Branch("callee", callee.party("branch2"))
			must(t)(p.Offer(anchor.Caller, caller.body("8", c.line)))
			toCaller := must(t)(p.Answer(anchor.Callee, callee.body("8", c.line)))
			caller.option(unix.IP_TOS, congested)
			callee.option(unix.IP_RECVTOS, 1)
			want := relay.ExpeditedForwarding<<2 | c.want
			caller.talk(toCaller)
			if got := callee.mark(); got != want {
				t.Errorf("came as %#x, want %#x", got, want)
			}
			state, err := p.State()
			if err != nil {
				t.Fatal(err)
			}
			call.Close()
			back, _, err := o.anchor.Restore(line.Holder{Class: line.Voice, Name: "call"}, state)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { back.Close() })
			caller.talk(toCaller)
			if got := callee.mark(); got != want {
				t.Errorf("after a restart it came as %#x, want %#x", got, want)
			}
		})
	}
}

func (p *phone) option(option, value int) {
	p.t.Helper()
	raw, err := p.conn.SyscallConn()
	if err != nil {
		p.t.Fatal(err)
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, option, value) }); err != nil || failed != nil {
		p.t.Fatal(err, failed)
	}
}

// mark is the DSCP and ECN byte of the next packet.
func (p *phone) mark() int {
	p.t.Helper()
	if err := p.conn.SetReadDeadline(time.Now().Add(15 * time.Second)); err != nil {
		p.t.Fatal(err)
	}
	oob := make([]byte, 64)
	_, n, _, _, err := p.conn.ReadMsgUDP(make([]byte, 2048), oob)
	if err != nil {
		p.t.Fatal(err)
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(messages) != 1 {
		p.t.Fatalf("control messages %v, %v; want one", messages, err)
	}
	return int(messages[0].Data[0])
}
