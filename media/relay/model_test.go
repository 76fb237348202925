package relay

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// modelRelay is a stream in plain words, for comparison with the real packet path: no sockets, no atomics, sequence numbers
// that do not wrap, and every packet of a source remembered.
type modelRelay [2]modelLeg

type modelLeg struct {
	signalled, latched netip.AddrPort
	source             netip.Addr
	held               bool

	ssrc    uint32
	numbers []int // of the packets of the present source, in the order they came
	last    time.Duration

	packets, lost, passed, dropped int // lost: of sources before the present one
}

// signal is what an offer or an answer of the party says.
func (l *modelLeg) signal(p Peer) {
	l.source, l.held = p.Source, p.Held
	if p.RTP.IsValid() && !p.Held {
		if l.signalled.IsValid() && l.signalled != p.RTP {
			l.latched = netip.AddrPort{} // it moved
		}
		l.signalled = p.RTP
	}
	if l.latched.IsValid() && !l.named(l.latched) {
		l.latched = netip.AddrPort{}
	}
}

func (l *modelLeg) named(from netip.AddrPort) bool {
	return from.Addr() == l.signalled.Addr() || from.Addr() == l.source
}

// target is where the party is sent to; invalid: nowhere.
func (l *modelLeg) target() netip.AddrPort {
	switch {
	case l.held:
		return netip.AddrPort{}
	case l.latched.IsValid():
		return l.latched
	}
	return l.signalled
}

// arrive is a packet with the number that its sender counts, beyond 16 bits.
func (m *modelRelay) arrive(leg int, from netip.AddrPort, ssrc uint32, number int, now time.Duration) {
	l := &m[leg]
	if from != l.latched {
		carriesOn := len(l.numbers) > 0 && ssrc == l.ssrc && number > l.numbers[len(l.numbers)-1] && now-l.last >= 100*time.Millisecond
		if !l.named(from) || l.latched.IsValid() && from != l.signalled && !carriesOn {
			l.dropped++
			return
		}
		l.latched = from
	}
	if m[1-leg].target().IsValid() {
		l.passed++
	} else {
		l.dropped++
	}
	l.packets++
	if ssrc != l.ssrc || len(l.numbers) == 0 {
		l.lost += l.missing()
		l.ssrc, l.numbers = ssrc, nil
	}
	l.numbers = append(l.numbers, number)
	l.last = now
}

// missing is what should have come of the present source and did not; twice counts twice (RFC 3550 A.3).
func (l *modelLeg) missing() int {
	if len(l.numbers) == 0 {
		return 0
	}
	return max(0, slices.Max(l.numbers)-l.numbers[0]+1-len(l.numbers))
}

// speaker is a source of packets that somebody sends.
type speaker struct {
	ssrc   uint32
	number int
}

// The real path and the model live the same random life: packets in order, lost, doubled and late, new sources, strangers,
// moved ports, silences, re-INVITEs, holds and music on hold.
func TestTheModelAgrees(t *testing.T) {
	t.Parallel()
	hosts := []string{"127.77.0.1", "127.77.0.2", "127.77.0.3"}
	address := rapid.Custom(func(t *rapid.T) netip.AddrPort {
		return netip.AddrPortFrom(netip.MustParseAddr(rapid.SampledFrom(hosts).Draw(t, "host")), rapid.SampledFrom([]uint16{4000, 4002}).Draw(t, "port"))
	})
	rapid.Check(t, func(t *rapid.T) {
		r, err := New(Options{First: 20000, Last: 29999})
		if err != nil {
			t.Fatal(err)
		}
		local := netip.MustParseAddr("127.0.0.1")
		s, err := r.open(Spec{Legs: [2]Leg{{Local: local}, {Local: local}}})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		var (
			m        modelRelay
			speakers [2][]*speaker
			packet   datagram
			now      = time.Second
			ssrc     uint32
		)
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			leg := rapid.IntRange(0, 1).Draw(t, "leg")
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0: // an offer, an answer
				p := Peer{RTP: address.Draw(t, "rtp"), Source: address.Draw(t, "source").Addr(), Held: rapid.IntRange(0, 3).Draw(t, "hold") == 0}
				p.Clocks[8] = 8000
				s.Expect(leg, p)
				m[leg].signal(p)
			case 1: // silence
				now += time.Duration(rapid.IntRange(50, 300).Draw(t, "silence")) * time.Millisecond
			case 2: // a new source
				ssrc++
				speakers[leg] = append(speakers[leg], &speaker{ssrc: ssrc, number: rapid.IntRange(0, 70000).Draw(t, "first")})
			default:
				if len(speakers[leg]) == 0 {
					continue
				}
				v := rapid.SampledFrom(speakers[leg][max(0, len(speakers[leg])-2):]).Draw(t, "speaker")
				v.number++
				number := v.number
				switch rapid.IntRange(0, 7).Draw(t, "way") {
				case 0: // lost
					continue
				case 1: // several lost
					v.number += rapid.IntRange(1, 40).Draw(t, "gap")
				case 2: // late, or twice
					number = max(v.number-rapid.IntRange(1, 3).Draw(t, "late"), 0)
					v.number--
				}
				from := m[leg].signalled
				if !from.IsValid() || rapid.IntRange(0, 4).Draw(t, "elsewhere") == 0 {
					from = address.Draw(t, "from")
				}
				now += 20 * time.Millisecond
				packet.from = newSockaddr(from, false)
				packet.size = copy(packet.buffer[:], make([]byte, 172))
				b := packet.buffer[:packet.size]
				b[0], b[1] = 0x80, 8
				binary.BigEndian.PutUint16(b[2:], uint16(number))
				binary.BigEndian.PutUint32(b[4:], uint32(number*160))
				binary.BigEndian.PutUint32(b[8:], v.ssrc)
				s.legs[leg].rtp().forward(&packet, int64(now))
				m.arrive(leg, from, v.ssrc, number, now)
			}
			for i := range m {
				c, l := s.legs[i].rtp(), &m[i]
				st, seen := c.state.Load(), c.reception.Snapshot()
				if st.latched != l.latched || st.to != newSockaddr(l.target(), false) {
					t.Fatalf("leg %d: latched to %v, sends to %v; the model %v and %v", i, st.latched, st.to, l.latched, l.target())
				}
				got := [4]int{int(seen.Packets), int(seen.Lost), int(c.forwarded.Load()), int(c.dropped.Load())}
				if want := [4]int{l.packets, l.lost + l.missing(), l.passed, l.dropped}; got != want {
					t.Fatalf("leg %d: packets, lost, passed, dropped %v; the model %v", i, got, want)
				}
			}
		}
	})
}
