package webrtc

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// The packets of a frame for several peers leave in one system call, each peer's in order, cut at their own lengths and with
// the mark of their class, whether or not the kernel cuts messages.
func TestAFrameLeavesAtOnce(t *testing.T) {
	for name, whole := range map[string]bool{"cut by the kernel": false, "a message each": true} {
		t.Run(name, func(t *testing.T) {
			p := open(t, Options{})
			p.sockets[0].whole.Store(whole)
			p.Announce(7, Audio)
			fars := []*far{newFar(t), newFar(t), newFar(t)}
			sizes := []int{900, 900, 901, 901, 901, 400, 901, 20}
			before := testutil.ToFloat64(p.calls)
			for i, size := range sizes {
				p.Begin()
				for _, f := range fars {
					if _, err := p.sockets[0].WriteToAddrPort(rtpPacket(1, uint16(i), size), f.addr); err != nil {
						t.Fatal(err)
					}
				}
				if i == 3 { // a voice in between has its own class
					if _, err := p.sockets[0].WriteToAddrPort(rtpPacket(7, 99, 80), fars[0].addr); err != nil {
						t.Fatal(err)
					}
				}
				if i < len(sizes)-1 {
					p.Hold()
				} else {
					p.End()
				}
			}
			for k, f := range fars {
				for i := 0; i < len(sizes); i++ {
					b, tos := f.receive(t)
					if k == 0 && binary.BigEndian.Uint16(b[2:]) == 99 {
						if tos != tosEF {
							t.Errorf("the voice is marked %#x", tos)
						}
						i--
						continue
					}
					if binary.BigEndian.Uint16(b[2:]) != uint16(i) || len(b) != len(rtpPacket(1, 0, sizes[i])) || tos != tosAF41 {
						t.Errorf("peer %d: datagram %d is number %d with %d octets and mark %#x", k, i, binary.BigEndian.Uint16(b[2:]), len(b), tos)
					}
				}
			}
			if calls := testutil.ToFloat64(p.calls) - before; calls != 1 {
				t.Errorf("%v system calls, want 1", calls)
			}
		})
	}
}

// What was held leaves although nothing follows.
func TestWhatIsHeldLeavesByItself(t *testing.T) {
	p := open(t, Options{})
	f := newFar(t)
	p.Begin()
	if _, err := p.sockets[0].WriteToAddrPort(rtpPacket(1, 5, 100), f.addr); err != nil {
		t.Fatal(err)
	}
	p.Hold()
	began := time.Now()
	if b, _ := f.receive(t); binary.BigEndian.Uint16(b[2:]) != 5 {
		t.Error("another datagram")
	}
	t.Logf("held %v", time.Since(began))
}

// Collecting and sending allocates nothing.
func TestABatchAllocatesNothing(t *testing.T) {
	p := open(t, Options{})
	f, g := newFar(t), newFar(t)
	packet := rtpPacket(1, 1, 900)
	if n := testing.AllocsPerRun(200, func() {
		p.Begin()
		for range 7 {
			_, _ = p.sockets[0].WriteToAddrPort(packet, f.addr)
			_, _ = p.sockets[0].WriteToAddrPort(packet, g.addr)
		}
		p.End()
	}); n != 0 {
		t.Errorf("%v allocations per fan-out", n)
	}
}
