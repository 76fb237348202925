package kernel

import (
	"encoding/binary"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"linehall/media/packet"
	"linehall/media/rtcp"
)

// Counted is what a flow has counted.
type Counted struct {
	rtcp.State          // times of the monotonic clock
	Returned   Returned // packets of the flow that went up to the sockets
}

// Returned counts packets that the kernel handed up, by why.
type Returned struct{ NoRoute, Local, NoForward, NoNeighbour, TooBig, LastHop uint32 }

// Total returns how many there were.
func (r Returned) Total() uint64 {
	return uint64(r.NoRoute) + uint64(r.Local) + uint64(r.NoForward) + uint64(r.NoNeighbour) + uint64(r.TooBig) + uint64(r.LastHop)
}

// words puts an address as the kernel compares it: IPv4 in the first word.
func words(a netip.Addr) (w [4]uint32) {
	if a.Is4() {
		b := a.As4()
		w[0] = binary.NativeEndian.Uint32(b[:])
		return w
	}
	b := a.As16()
	for i := range w {
		w[i] = binary.NativeEndian.Uint32(b[4*i:])
	}
	return w
}

func addr(w [4]uint32, family uint32) netip.Addr {
	var b [16]byte
	for i := range w {
		binary.NativeEndian.PutUint32(b[4*i:], w[i])
	}
	if family == unix.AF_INET {
		return netip.AddrFrom4([4]byte(b[:4]))
	}
	return netip.AddrFrom16(b)
}

// port converts to and from network order.
func port(p uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, p))
}

// at is the address of ours that a flow arrives at.
func (k programKey) at() netip.AddrPort {
	return netip.AddrPortFrom(addr(k.Dst, k.Family), port(k.DstPort))
}

// encode makes the table entry of a flow, without its slot.
func encode(f Flow) (programKey, programRule, error) {
	four := f.From.Addr().Is4()
	for _, a := range []netip.AddrPort{f.From, f.At, f.As, f.To} {
		h := a.Addr()
		if !a.IsValid() || a.Port() == 0 || h.Is4() != four || h.Is4In6() || h.IsUnspecified() || h.IsMulticast() || h.Zone() != "" || h.IsLinkLocalUnicast() && h.Is6() {
			return programKey{}, programRule{}, ErrMixed
		}
		if h.IsLoopback() {
			return programKey{}, programRule{}, ErrLocal
		}
	}
	key := programKey{
		Dst: words(f.At.Addr()), Src: words(f.From.Addr()), DstPort: port(f.At.Port()), SrcPort: port(f.From.Port()), Family: unix.AF_INET6,
	}
	if four {
		key.Family = unix.AF_INET
	}
	rule := programRule{
		Src: words(f.As.Addr()), Dst: words(f.To.Addr()), SrcPort: port(f.As.Port()), DstPort: port(f.To.Port()),
		Tos: f.DSCP << 2, Priority: priority(f.DSCP), Clock: clocks(f.Clocks),
	}
	return key, rule, nil
}

func decode(k programKey, r *programRule) Flow {
	c := r.Clock
	return Flow{
		At: k.at(), From: netip.AddrPortFrom(addr(k.Src, k.Family), port(k.SrcPort)),
		As: netip.AddrPortFrom(addr(r.Src, k.Family), port(r.SrcPort)), To: netip.AddrPortFrom(addr(r.Dst, k.Family), port(r.DstPort)),
		DSCP: r.Tos >> 2, Clocks: &c,
	}
}

// priority is what the kernel gives a socket with that DSCP (rt_tos2priority): it chooses the band of a simple queue.
func priority(dscp uint8) uint32 {
	const bestEffort, bulk, interactive, interactiveBulk = 0, 2, 6, 4
	return [4]uint32{bestEffort, bulk, interactive, interactiveBulk}[dscp<<2&0x18>>3]
}

func encodeState(s rtcp.State) programSlot {
	out := programSlot{
		Ssrc: uint32(s.SSRC), Packets: s.Packets, Bytes: s.Bytes, Received: s.Received, LostOld: s.LostOld,
		LastAt: uint64(s.LastAt), Jitter: uint64(s.Jitter), Arrival: uint64(s.Arrival), //nolint:gosec // times since boot
		Cycles: s.Cycles, BaseSeq: s.BaseSeq, BadSeq: s.BadSeq, MaxSeq: uint32(s.MaxSeq), Clock: s.Clock, LastTs: s.LastTS,
		Sources: s.Sources, LastSeq: s.LastSeq, Type: uint8(s.Type),
	}
	if s.Started {
		out.Started = 1
	}
	return out
}

func decodeState(s *programSlot) Counted {
	r := s.Returned
	return Counted{
		State: rtcp.State{
			Started: s.Started != 0, SSRC: packet.SSRC(s.Ssrc), MaxSeq: uint16(s.MaxSeq), Cycles: s.Cycles, BaseSeq: s.BaseSeq, //nolint:gosec // 16 bits in the program
			BadSeq: s.BadSeq, Received: s.Received, LostOld: s.LostOld, Clock: s.Clock, Type: packet.PayloadType(s.Type), LastTS: s.LastTs,
			LastAt: int64(s.LastAt), Jitter: int64(s.Jitter), Packets: s.Packets, Bytes: s.Bytes, Sources: s.Sources, //nolint:gosec // times since boot
			LastSeq: s.LastSeq, Arrival: int64(s.Arrival), //nolint:gosec // as above
		},
		Returned: Returned{NoRoute: r[0], Local: r[1], NoForward: r[2], NoNeighbour: r[3], TooBig: r[4], LastHop: r[5]},
	}
}

// Monotonic returns the time of the clock that flows are counted by.
func Monotonic() int64 { return int64(monotonic()) }

func monotonic() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic("no monotonic clock: " + err.Error())
	}
	return time.Duration(ts.Nano())
}

// The slots are numbered from 0; the lowest free one is taken, so that those in use lie together.
type slots struct {
	count uint32
	used  []bool
	rests []resting
}

type resting struct {
	slot  uint32
	until time.Duration
}

func (s *slots) claim(slot uint32) {
	for uint32(len(s.used)) <= slot { //nolint:gosec // bounded by count
		s.used = append(s.used, false)
	}
	s.used[slot] = true
}

func (s *slots) take() (uint32, bool) {
	now := monotonic()
	for len(s.rests) > 0 && s.rests[0].until <= now {
		s.used[s.rests[0].slot] = false
		s.rests = s.rests[1:]
	}
	for i, used := range s.used {
		if !used {
			s.used[i] = true
			return uint32(i), true //nolint:gosec // bounded by count
		}
	}
	n := uint32(len(s.used)) //nolint:gosec // bounded by count
	if n >= s.count {
		return 0, false
	}
	s.used = append(s.used, true)
	return n, true
}

func (s *slots) put(slot uint32) { s.rests = append(s.rests, resting{slot, monotonic() + Rest}) }
