package focus

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"linehall/media/bridge"
	"linehall/media/codec"
	"linehall/media/mix"
	"linehall/media/packet"
	"linehall/media/rtcp"
	"linehall/media/sdp"
	"linehall/media/served"
)

// The life of a telephone's packet:
//
//  1. The relay sends it to a port of ours on the loopback interface; one goroutine reads that (sound.read).
//  2. Only the relay's port is heard, and only what was negotiated.
//  3. It goes to the mixer, which decodes it 20 to 60 ms later, and, as it is, to the seat: that is what browsers get.
//
// The mixer's goroutine sends the mix back every 20 ms (voice.Send).

var errNothingAgreed = errors.New("no audio format in common")

// sound is a leg's packets.
type sound struct {
	rtp, rtcp *net.UDPConn
	mixer     *mix.Mixer
	start     time.Time
	reports   *served.Reports
	pressed   func(key byte)
	seat      atomic.Pointer[Seat]
	now       atomic.Pointer[agreed]
	readers   sync.WaitGroup

	// The leg's owner's.
	theirs, ours []byte
	alone, muted bool
}

// agreed is what was negotiated; it is replaced, never changed.
type agreed struct {
	sound   *sound
	lines   bridge.Lines
	leg     *mix.Leg
	peer    netip.AddrPort // invalid in a hold of RFC 2543
	control netip.AddrPort // for reports; invalid: it wants none
	codecs  [128]Codec
	keys    bool // come as events
}

// openSound binds the ports of a leg; 0 means any.
func openSound(mixer *mix.Mixer, rtpPort, rtcpPort int, pressed func(byte)) (*sound, error) {
	s := &sound{mixer: mixer, start: time.Now(), reports: served.NewReports(), pressed: pressed}
	var err error
	if s.rtp, err = bind(rtpPort); err != nil {
		return nil, err
	}
	if s.rtcp, err = bind(rtcpPort); err != nil {
		return nil, errors.Join(err, s.rtp.Close())
	}
	return s, nil
}

func bind(port int) (*net.UDPConn, error) {
	c, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(served.Host, uint16(port)))) //nolint:gosec // a port
	if err != nil {
		return nil, fmt.Errorf("port of a leg: %w", err)
	}
	return c, nil
}

func portOf(c *net.UDPConn) int {
	if a, ok := c.LocalAddr().(*net.UDPAddr); ok {
		return a.Port
	}
	return 0
}

// run reads until close.
func (s *sound) run() {
	s.readers.Go(func() { s.read(s.rtp) })
	s.readers.Go(func() { s.read(s.rtcp) })
}

// close ends it and waits for its readers.
func (s *sound) close() {
	if a := s.now.Swap(nil); a != nil {
		a.leg.Leave()
	}
	_, _ = s.rtp.Close(), s.rtcp.Close() // nothing was buffered
	s.readers.Wait()
}

// offer is our description when nobody has made one.
func (s *sound) offer() []byte {
	rtp, rtcp := portOf(s.rtp), portOf(s.rtcp)
	var b strings.Builder
	fmt.Fprintf(&b, "v=0\r\no=- 1 1 IN IP4 %[1]s\r\ns=-\r\nc=IN IP4 %[1]s\r\nt=0 0\r\nm=audio %[2]d RTP/AVP 9 8 0 101\r\n", served.Host, rtp)
	fmt.Fprintf(&b, "a=rtpmap:9 G722/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=rtcp:%d\r\na=sendrecv\r\n", rtcp)
	return []byte(b.String())
}

// answer makes our answer to an offer and goes by it.
func (s *sound) answer(offer []byte) ([]byte, error) {
	a, err := served.Answer(offer, portOf(s.rtp), portOf(s.rtcp))
	if err != nil {
		return nil, err //nolint:wrapcheck // it says what is wrong
	}
	return a.Body, s.agree(offer, a.Body)
}

// agree goes by two descriptions. On an error everything stays as it was.
func (s *sound) agree(theirs, ours []byte) error {
	a := &agreed{sound: s, lines: bridge.Agreed(theirs, ours)[0]}
	m := audioOf(theirs)
	if m == nil || a.lines.Gets.Format.Clock == 0 || a.lines.Sends.Format.Clock == 0 {
		return errNothingAgreed
	}
	a.peer, _ = m.Target()
	a.control, _ = m.RTCP()
	a.keys = a.lines.Sends.Event != 0
	for _, v := range append([]mix.Voice{{Format: a.lines.Sends.Format, Type: a.lines.Sends.Type}}, a.lines.Sends.Others...) {
		a.codecs[v.Type&0x7f] = codecOf(v.Format)
	}
	before := s.now.Load()
	switch {
	case before != nil && reflect.DeepEqual(before.lines.Sends, a.lines.Sends) && reflect.DeepEqual(before.lines.Gets, a.lines.Gets):
		a.leg = before.leg
		a.leg.To(a)
	default:
		a.leg = s.mixer.Join(a.lines.Sends, a.lines.Gets, a)
	}
	a.leg.Apart(s.alone)
	a.leg.Mute(s.muted || a.lines.Silent) // who holds the meeting is not heard: it may be music
	if before != nil && !a.peer.IsValid() {
		a.peer, a.control = before.peer, before.control
	}
	s.now.Store(a)
	s.theirs, s.ours = theirs, ours
	if before != nil && before.leg != a.leg {
		before.leg.Leave()
	}
	return nil
}

func audioOf(description []byte) *sdp.Media {
	doc, err := sdp.Parse(description)
	if err != nil {
		return nil
	}
	for _, m := range doc.Media() {
		if m.Kind() == "audio" && m.Port() != 0 && m.IsRTP() {
			return m
		}
	}
	return nil
}

func codecOf(f codec.Format) Codec {
	switch f {
	case codec.PCMU:
		return PCMU
	case codec.PCMA:
		return PCMA
	case codec.G722:
		return G722
	}
	return 0
}

// apart has the telephone hear nobody, and nobody it; mute has nobody hear it.
func (s *sound) apart(on bool) {
	s.alone = on
	if a := s.now.Load(); a != nil {
		a.leg.Apart(on)
	}
}

func (s *sound) mute(on bool) {
	s.muted = on
	if a := s.now.Load(); a != nil {
		a.leg.Mute(on || a.lines.Silent)
	}
}

// play lets the telephone alone hear something.
func (s *sound) play(samples []int16) {
	if a := s.now.Load(); a != nil {
		a.leg.Play(samples)
	}
}

// sit gives the voice to a seat; nil: to nobody.
func (s *sound) sit(seat Seat) {
	if seat == nil {
		s.seat.Store(nil)
		return
	}
	s.seat.Store(&seat)
}

// read takes what comes to a port until it is closed.
func (s *sound) read(c *net.UDPConn) {
	buffer := make([]byte, 2048)
	for {
		n, from, err := c.ReadFromUDPAddrPort(buffer)
		switch {
		case err == nil:
			s.take(buffer[:n], netip.AddrPortFrom(from.Addr().Unmap(), from.Port()))
		case errors.Is(err, net.ErrClosed):
			return
		}
	}
}

func (s *sound) take(datagram []byte, from netip.AddrPort) {
	a := s.now.Load()
	if a == nil || from != a.peer && from != a.control {
		return
	}
	now := time.Since(s.start)
	switch packet.Classify(datagram) {
	case packet.RTP:
		s.reports.Packet(now, datagram, a.lines.Sends.Format.Clock)
		a.leg.Put(datagram)
		s.pass(a, datagram)
	case packet.RTCP:
		s.reports.Take(now, datagram)
	default:
	}
}

// pass gives a packet to the seat.
func (s *sound) pass(a *agreed, datagram []byte) {
	seat := s.seat.Load()
	if seat == nil || a.lines.Silent {
		return
	}
	if c := a.codecs[datagram[1]&0x7f]; c != 0 {
		(*seat).Voice(c, datagram)
		return
	}
	(*seat).Pass(datagram)
}

// Send implements mix.Out.
func (a *agreed) Send(datagram []byte) {
	s := a.sound
	if seat := s.seat.Load(); seat != nil {
		(*seat).Level(a.leg.Below())
	}
	if !a.lines.Silent && a.peer.IsValid() {
		_, _ = s.rtp.WriteToUDPAddrPort(datagram, a.peer) // a full buffer loses a packet, as a line does
	}
	now := time.Since(s.start)
	if !a.control.IsValid() || !s.reports.Due(now) {
		return
	}
	source, timestamp, packets, octets := a.leg.Said()
	sent := rtcp.Sent{At: time.Now(), Timestamp: timestamp, Packets: packets, Octets: octets}
	_, _ = s.rtcp.WriteToUDPAddrPort(s.reports.Compound(now, source, sent, a.lines.Gets.Format.Clock, false), a.control) // as a packet of sound
}

// Pressed implements mix.Out.
func (a *agreed) Pressed(key byte) { a.sound.pressed(key) }
