package congestion

import (
	"sync"
	"time"

	"github.com/pion/rtcp"

	"linehall/internal/site"
	"linehall/media/line"
)

const (
	// sentPackets is how many numbers are remembered: two seconds of the widest subscriber.
	sentPackets = 4096
	// overdue is how much later a packet must have been sent and reported, before one that was not is lost: jitter turns
	// packets around.
	overdue = 200 * time.Millisecond
	// sourceClock is how often the reference time of the reports begins anew: 24 bits of 64 ms.
	referenceUnit = 64 * time.Millisecond
	referenceBits = 24
)

// Sender numbers the packets of one subscriber's connection and reads its reports. Stamp and Feedback may be called by any
// goroutine.
type Sender struct {
	pool *Pool
	pad  func(octets int) int

	mu       sync.Mutex // guards all below; taken before the pool's
	site     site.ID
	path     *path
	next     uint64 // number of the next packet
	judged   uint64 // numbers below are either arrived or lost
	sent     [sentPackets]sentPacket
	clock    int64 // the unwrapped reference time of the newest report, in units
	started  bool
	octets   rateWindow
	remb     int64     // bit/s; 0: none
	fell     time.Time // when the REMB did last
	numbered bool      // transport-wide feedback came
}

type sentPacket struct {
	number uint64
	at     time.Time
	fate   fate
}

type fate uint8

const (
	unheard fate = iota
	missing      // reported as not received so far
	arrived
)

// Stamp returns the transport-wide number of a packet that leaves now.
func (s *Sender) Stamp(now time.Time, octets int) uint16 {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.next
	s.next++
	s.sent[n%sentPackets] = sentPacket{number: n, at: now}
	s.octets.add(now, octets)
	return uint16(n) //nolint:gosec // the low 16 bits are the wire's
}

// Feedback takes a report.
func (s *Sender) Feedback(report *rtcp.TransportLayerCC, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next == 0 {
		return
	}
	s.numbered = true
	base := s.next - uint64(uint16(s.next)-report.BaseSequenceNumber) //nolint:gosec // modulo the wire's 16 bits
	if base > s.next || s.next-base > sentPackets {
		return // of packets that are forgotten, or were never sent
	}
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	newest := s.note(report, base, now)
	s.settle(newest, now)
}

// note writes down what became of each packet and returns the newest that arrived.
func (s *Sender) note(report *rtcp.TransportLayerCC, base uint64, now time.Time) (newest time.Time) {
	at := s.reference(report.ReferenceTime)
	number, delta := base, 0
	end := base + uint64(report.PacketStatusCount)
	each := func(symbol uint16) {
		if number >= end {
			return
		}
		p := &s.sent[number%sentPackets]
		known := p.number == number && number < s.next
		number++
		if symbol != rtcp.TypeTCCPacketReceivedSmallDelta && symbol != rtcp.TypeTCCPacketReceivedLargeDelta {
			if known && p.fate == unheard {
				p.fate = missing
			}
			return
		}
		if delta >= len(report.RecvDeltas) {
			return
		}
		at += time.Duration(report.RecvDeltas[delta].Delta) * time.Microsecond
		delta++
		if !known || p.fate == arrived {
			return
		}
		p.fate = arrived
		if p.at.After(newest) {
			newest = p.at
		}
		s.path.arrive(now, at-time.Duration(p.at.UnixNano()))
	}
	for _, chunk := range report.PacketChunks {
		switch c := chunk.(type) {
		case *rtcp.RunLengthChunk:
			for range c.RunLength {
				each(c.PacketStatusSymbol)
			}
		case *rtcp.StatusVectorChunk:
			for _, symbol := range c.SymbolList {
				each(symbol)
			}
		}
	}
	return newest
}

// reference is the receiver's clock at a report, without the wire's wrap.
func (s *Sender) reference(wire uint32) time.Duration {
	const whole = int64(1) << referenceBits
	if !s.started {
		s.started, s.clock = true, int64(wire)
	}
	ahead := (int64(wire) - s.clock) & (whole - 1)
	if ahead >= whole/2 {
		ahead -= whole
	}
	s.clock += ahead
	return time.Duration(s.clock) * referenceUnit
}

// settle counts what is certain: later packets were reported, so that what is missing is lost. What no report spoke of counts
// as nothing: the report was lost, not the packet.
func (s *Sender) settle(newest, now time.Time) {
	if s.next-s.judged > sentPackets {
		s.judged = s.next - sentPackets
	}
	came, lost := 0, 0
	for s.judged < s.next {
		p := &s.sent[s.judged%sentPackets]
		if p.fate != arrived && newest.Sub(p.at) < overdue {
			break
		}
		switch p.fate {
		case arrived:
			came++
		case missing:
			lost++
		case unheard:
		}
		s.judged++
	}
	s.path.count(now, came, lost)
}

// Estimate takes a REMB. It counts as long as the receiver sends no transport-wide feedback, and only when it falls: it climbs
// slower than what we may send, and then means nothing.
func (s *Sender) Estimate(bps int64, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.numbered {
		return
	}
	if float64(bps) < rembFall*float64(s.remb) {
		s.fell = now
	}
	s.remb = bps
	s.pool.mu.Lock()
	s.path.count(now, 0, 0)
	s.pool.mu.Unlock()
}

// Report takes the loss of a receiver report, which counts as long as there is no transport-wide feedback.
func (s *Sender) Report(arrived, lost int, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.numbered || s.remb == 0 {
		return
	}
	s.pool.mu.Lock()
	s.path.count(now, arrived, lost)
	s.pool.mu.Unlock()
}

const (
	// A REMB that fell below rembFall of the one before, and below rembSlack of what we send, says that the line is full; for
	// rembFresh, as browsers send one a second.
	rembFall  = 0.97
	rembSlack = 0.95
	rembFresh = time.Second
)

// capped is how much less than what we send a REMB allows.
func (s *Sender) capped(now time.Time) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	sent := s.octets.bps(now)
	if s.numbered || s.fell.IsZero() || now.Sub(s.fell) > rembFresh || float64(s.remb) > rembSlack*float64(sent) {
		return 0
	}
	return sent - s.remb
}

// sends says whether packets leave.
func (s *Sender) sends(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.octets.bps(now) > 0
}

// Move takes the connection to another site's line.
func (s *Sender) Move(id site.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id == s.site {
		return
	}
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	s.leave()
	s.site, s.path = id, &path{}
	d := s.pool.direction(id, line.Down)
	d.senders = append(d.senders, s)
	d.paths = append(d.paths, s.path)
	s.pool.wake()
}

// Close takes the connection out of the pool.
func (s *Sender) Close() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	s.leave()
}

// rateWindow is the rate of the last whole second, in tenths.
type rateWindow struct {
	numbers [16]int64
	octets  [16]int64
}

func (w *rateWindow) add(now time.Time, octets int) {
	n := now.UnixNano() / int64(slotTime)
	i := n % int64(len(w.numbers))
	if w.numbers[i] != n {
		w.numbers[i], w.octets[i] = n, 0
	}
	w.octets[i] += int64(octets)
}

func (w *rateWindow) bps(now time.Time) (bps int64) {
	n := now.UnixNano() / int64(slotTime)
	for i := n - 10; i < n; i++ {
		if j := i % int64(len(w.numbers)); w.numbers[j] == i {
			bps += w.octets[j] * 8
		}
	}
	return bps
}
