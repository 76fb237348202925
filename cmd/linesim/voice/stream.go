package voice

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"linehall/cmd/linesim/tone"
)

const (
	rtpHeader = 12
	// ssrcBase keeps our sources recognisable in captures; they need only be unique inside one session (RFC 3550 §8).
	ssrcBase = 0x11e50000
	// sendHistory is how many send times a stream remembers: 20 s at 50 packets/s, more than any path delays.
	sendHistory = 1024
	rtcpRead    = 50  // turns: one second
	rtcpWrite   = 250 // turns: five seconds (RFC 3550 §6.2, the minimum interval)
)

// Target is what a stream shall send where, and what it expects to hear. A zero Expect listens for nothing particular.
type Target struct {
	Remote netip.AddrPort
	Law    tone.Law
	Send   float64 // Hz
	Expect float64 // Hz
	Mute   bool    // send nothing (a held or one-way call); receiving goes on
	// Own and Theirs are the keys of SRTP, KeyLength octets each; "": RTP.
	Own, Theirs string
}

// Stream is one phone's media session. Its methods may be called from any goroutine.
type Stream struct {
	engine *Engine
	phase  int
	ssrc   uint32

	// When each sequence number left, Unix nanoseconds; written by the owner, read by the receiving stream's turn,
	// which is the same goroutine, and by nobody else. Atomic all the same: streams are opened and closed elsewhere.
	sentAt [sendHistory]atomic.Int64

	mu        sync.Mutex // guards everything below; taken by the engine's turn and by the owner's calls
	rtp, rtcp *udpSocket
	target    Target
	started   bool
	closed    bool
	generator *tone.Generator
	seq       uint16
	timestamp uint32
	turns     int
	sent      uint64
	spoke     bool // has sent its first packet
	packet    [rtpHeader + tone.FrameSamples]byte
	in        receiver
	take      func(arrival)
	protected *protection // nil: RTP
}

func newStream(e *Engine, rtp, rtcp *udpSocket, ssrc uint32) *Stream {
	s := &Stream{engine: e, ssrc: ssrc, rtp: rtp, rtcp: rtcp, seq: uint16(ssrc * 31), timestamp: ssrc * 7919}
	s.take = func(a arrival) {
		data, ok := s.protected.in(a.data)
		if !ok {
			s.in.foreign++
			return
		}
		a.data = data
		s.in.packet(e, a)
	}
	return s
}

// Local returns the address of the RTP socket; RTCP is one port higher.
func (s *Stream) Local() netip.AddrPort { return s.rtp.local }

// SSRC returns the synchronisation source this stream sends with.
func (s *Stream) SSRC() uint32 { return s.ssrc }

// Start begins, or changes, sending and listening. A change of target keeps the counters and the sequence numbers, as
// a phone does after a re-INVITE; the tone detector starts over when the expected tone or law changes.
func (s *Stream) Start(t Target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	if s.generator == nil || s.target.Law != t.Law || s.target.Send != t.Send {
		s.generator = tone.NewGenerator(t.Law, t.Send)
	}
	if t.Own != s.target.Own || t.Theirs != s.target.Theirs {
		s.protected = nil
		if t.Own != "" {
			s.protected, _ = newProtection(t.Own, t.Theirs) // keys of another length: nobody hears anything
		}
	}
	s.in.listen(t.Law, t.Expect)
	s.in.follows = s.protected != nil
	s.target = t
	s.started = true
	s.rtp.setRemote(t.Remote)
	s.rtcp.setRemote(netip.AddrPortFrom(t.Remote.Addr(), t.Remote.Port()+1))
}

// Stop ends sending, and what arrives from now on is no longer counted: the call is being hung up, and the packets
// that cross the BYE are nobody's loss.
func (s *Stream) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.started = false
	s.in.freeze()
}

// Stats returns what was measured so far.
func (s *Stream) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.in.stats(s.sent)
}

// Reset starts the statistics over, as at the beginning of a measurement. Sequence and target stay.
func (s *Stream) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	law, expect := s.in.law, s.in.expect
	s.in = receiver{follows: s.in.follows}
	s.in.listen(law, expect)
	s.sent = 0
}

// Close ends the stream, frees its sockets and returns the final figures. A second call returns the same.
func (s *Stream) Close() Stats {
	s.engine.remove(s)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		s.started = false
		s.rtp.close()
		s.rtcp.close()
	}
	return s.in.stats(s.sent)
}

// turn is the stream's share of one tick: receive first, so that a slow send delays nobody's statistics.
func (s *Stream) turn(_ *Engine) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.rtp.receive(s.take)
	if s.started && !s.target.Mute {
		s.sendFrame()
	}
	s.turns++
	if s.turns%rtcpRead == 0 {
		s.rtcp.receive(s.report)
	}
	if s.started && s.turns%rtcpWrite == 0 {
		s.sendReport()
	}
}

// report takes in what the other end says about us.
func (s *Stream) report(a arrival) {
	data, ok := s.protected.inReport(a.data)
	if !ok {
		s.in.foreign++
		return
	}
	a.data = data
	s.in.report(a)
}

func (s *Stream) sendFrame() {
	p := s.packet[:]
	p[0] = 2 << 6
	p[1] = byte(s.target.Law)
	if !s.spoke {
		s.spoke = true
		p[1] |= 0x80 // the marker opens a talkspurt (RFC 3551 §4.1)
	}
	binary.BigEndian.PutUint16(p[2:], s.seq)
	binary.BigEndian.PutUint32(p[4:], s.timestamp)
	binary.BigEndian.PutUint32(p[8:], s.ssrc)
	s.generator.Fill(p[rtpHeader:])
	s.sentAt[s.seq%sendHistory].Store(time.Now().UnixNano())
	s.rtp.send(s.protected.out(p))
	s.sent++
	s.seq++
	s.timestamp += tone.FrameSamples
}
