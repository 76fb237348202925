package served

import (
	"math/rand/v2"
	"sync"
	"time"

	"linehall/media/packet"
	"linehall/media/rtcp"
)

// reportInterval is the mean time between reports; the first one comes after half of it (RFC 3550 §6.2). A voice of 80 kbit/s
// could afford more.
const reportInterval = 5 * time.Second

// cname names our end in reports; it says nothing of us (RFC 7022 §4.1 asks for no more than that it be unique in its session).
const cname = "linehall"

// Reports are what a leg says of the quality of its call (RFC 3550 §6.4). The relay measures the round trip of both ways by them.
type Reports struct {
	next time.Duration // of the leg's clock; the owner's
	out  []byte

	mu        sync.Mutex // guards what follows: two readers write it
	reception rtcp.Reception
	before    rtcp.Stats    // as of the last report
	lsr       uint32        // of the party's last sender report; 0: none
	lsrAt     time.Duration // when that came
}

// NewReports begins with the leg.
func NewReports() *Reports {
	return &Reports{next: spread(reportInterval / 2), out: make([]byte, 0, 128)}
}

// spread draws a time between half and one and a half of an interval.
func spread(d time.Duration) time.Duration { return d/2 + rand.N(d) }

// Packet counts a packet of the party's.
func (r *Reports) Packet(now time.Duration, datagram []byte, clock int) {
	h, ok := packet.Parse(datagram)
	if !ok {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reception.Packet(int64(now), h, uint32(clock), len(datagram)) //nolint:gosec // of a format
}

// Take reads a compound of the party's.
func (r *Reports) Take(now time.Duration, datagram []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	rtcp.Compound(datagram, rtcp.Reader{Sender: func(ntp uint32) { r.lsr, r.lsrAt = ntp, now }})
}

// Due reports whether a report is to be sent now; it is asked by the leg's owner.
func (r *Reports) Due(now time.Duration) bool {
	if now < r.next {
		return false
	}
	r.next = now + spread(reportInterval)
	return true
}

// Compound is the report that is due; with bye the last one. It is valid until the next.
func (r *Reports) Compound(now time.Duration, ssrc packet.SSRC, sent rtcp.Sent, clock int, bye bool) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	speaks := &sent
	if sent.Packets == 0 {
		speaks = nil
	}
	r.out = rtcp.AppendCompound(r.out[:0], uint32(ssrc), speaks, r.block(now, clock), cname, bye)
	return r.out
}

// block is what was received; nil: nothing. r.mu is held.
func (r *Reports) block(now time.Duration, clock int) *rtcp.Received {
	s := r.reception.Snapshot()
	if s.Packets == 0 {
		return nil
	}
	b := &rtcp.Received{
		SSRC: uint32(s.SSRC), Highest: r.reception.Highest(), Lost: int32(min(s.Lost, 1<<23)), //nolint:gosec // bounded
		Jitter: uint32(s.Jitter * time.Duration(clock) / time.Second), LSR: r.lsr, //nolint:gosec // a minute at most
	}
	if since := s.Since(r.before); since.Packets+since.Lost > 0 {
		b.FractionLost = uint8(min(255, 256*since.Lost/(since.Packets+since.Lost))) //nolint:gosec // bounded
	}
	r.before = s
	if r.lsr != 0 {
		b.DLSR = uint32((now - r.lsrAt) * (1 << 16) / time.Second) //nolint:gosec // modular, as in the RFC
	}
	return b
}

// report sends what is due; l.mu is held.
func (l *Leg) report(now time.Duration, bye bool) {
	if !l.control.IsValid() || !bye && !l.reports.Due(now) {
		return
	}
	source, timestamp, packets, octets := l.mouth.Said()
	sent := rtcp.Sent{At: l.start.Add(now), Timestamp: timestamp, Packets: packets, Octets: octets}
	_, _ = l.rtcp.WriteToUDPAddrPort(l.reports.Compound(now, source, sent, l.line.Format.Clock, bye), l.control) // as a packet of sound
}
